"""What cleaning does to a text and asks of it."""
