"""Publishing a run on the Hugging Face Hub: its documents as a data set, and each of its models."""
