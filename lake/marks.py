"""The marks of a paper's format: the readers write them into its text, and the tokenizer has a token for each."""

MARK_NAMES = ("bib_ref", "fig_ref", "bib", "fig", "table", "formula")

FORMAT_TOKENS = tuple(f"[{slash}{name}]" for name in MARK_NAMES for slash in ("", "/"))
"""`[bib_ref]`, `[/bib_ref]` and so on, in the order of their token ids: a change of order breaks every tokenizer."""
