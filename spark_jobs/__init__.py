"""The bodies of the Spark steps, a file for each, and what they share of Spark."""
