"""Characters that no reader sees, by one definition for all that must agree on them."""

INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
"""Soft hyphens, zero-width blanks, marks of direction and byte order, written as the inside of a regular expression's
`[…]`. Cleaning takes them out of documents, and decontamination out of questions, so that both have the same words."""
