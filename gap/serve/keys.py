"""Keys: they come from the environment only, and are compared in constant time."""

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable
from typing import Self

from lake.error import UserError

VARIABLE = "GAP_API_KEY"
HOW = f"export {VARIABLE}=$(openssl rand -hex 24)"
SHORTEST = 16


class Keys:
    """The keys that may ask. Only their digests are kept."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def taken_from_environment(cls) -> Self:
        """The keys in GAP_API_KEY, separated by commas. The variable is removed, so that no engine inherits it.

        Raises:
            UserError: there is none, or one is so short that it can be guessed.
        """
        keys = [key for word in os.environ.pop(VARIABLE, "").split(",") if (key := word.strip())]
        if not keys:
            raise UserError(f"{VARIABLE} is not set, and nothing is served without a key; make one: {HOW}")
        if any(len(key) < SHORTEST for key in keys):
            raise UserError(f"{VARIABLE}: a key of fewer than {SHORTEST} characters can be guessed; make one: {HOW}")
        return cls(keys)

    def owner(self, authorization: str) -> str | None:
        """The name of the key in a header `Authorization`, None if it is none of ours.

        It is `Bearer KEY`, or Basic with the key as the password, which is what a browser's own prompt sends.
        """
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() == "bearer":
            given = rest.strip()
        elif scheme.lower() == "basic":
            try:
                given = base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
            except ValueError:  # no base64, or no text within
                return None
        else:
            return None
        # All keys are compared, so that the time does not tell which of them begins alike.
        same = [hmac.compare_digest(_digest(given), known) for known in self._digests]
        return f"key-{same.index(True) + 1}" if any(same) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
