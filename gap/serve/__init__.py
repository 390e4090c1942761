"""`gap serve`: models behind OpenAI's API and a chat page, with keys, limits and metrics."""
