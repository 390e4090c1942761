"""From a guideline site to WARC files: asking politely, following, keeping, and telling when a scraper rots."""
