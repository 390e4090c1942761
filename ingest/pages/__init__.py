"""From the bytes of a page or a PDF to its main text."""
