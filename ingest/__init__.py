"""Bytes to clean documents."""
