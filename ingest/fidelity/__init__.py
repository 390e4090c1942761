"""What a text must not lose: its critical tokens, and the audit that compares them with the raw record."""
