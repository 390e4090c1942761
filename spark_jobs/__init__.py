"""Spark steps; each file is also a spark-submit entry point."""
