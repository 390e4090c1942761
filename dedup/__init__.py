"""Duplicates and contamination: text to decisions."""
