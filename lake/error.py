"""The one exception a user can mend."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters and line ends."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one line; the command line prints it and exits with 2.

    It may quote what a file or a user wrote. Control characters in it are shown as Python writes them.
    """

    def __str__(self) -> str:
        return CONTROL.sub(lambda character: repr(character[0])[1:-1], super().__str__())
