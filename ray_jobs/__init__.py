"""The bodies of the Ray steps, a file for each, and what they share of Ray; the crawl and its health."""
