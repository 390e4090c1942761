"""Ray steps, the order of all steps, and the `gap` command."""
