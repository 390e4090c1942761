"""The command `gap`, and `python -m gap`."""

import signal
import sys


def start() -> None:
    """Run the command line. Its imports take seconds, in which Ctrl-C is no error either."""
    try:
        from gap.cli import main
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    main()


if __name__ == "__main__":
    start()
