"""`python -m gap`: the same as `gap`."""

from gap.cli import main

main()
