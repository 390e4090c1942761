"""Instruction data: records to conversations, conversations to tokens, tokens to packed sequences."""
