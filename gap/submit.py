"""What spark-submit starts: `spark-submit gap/submit.py CONFIG STEP [KEY=VALUE]...` is `gap run` in Spark's driver."""

import sys
from pathlib import Path

# spark-submit puts this folder first on the path, where names such as trace hide modules of Python.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from gap.cli import main  # noqa: E402 - the path comes first

main(["run", *sys.argv[1:]])
