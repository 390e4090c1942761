"""The tokenizer: how it is made, how it encodes, and the chat format that it knows."""
