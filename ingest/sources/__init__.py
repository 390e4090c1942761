"""One file a source format: bytes in, documents or drops out."""
