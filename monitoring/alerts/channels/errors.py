"""Why a message did not arrive, and secrets by reference."""

from __future__ import annotations

import os


class Undelivered(Exception):
    """One attempt failed. The text holds no address and no secret: it is logged and shown.

    Args:
      reason: What happened.
      temporary: Whether trying again could help.
      retry_after: Seconds the receiver asked to wait.
    """

    def __init__(self, reason: str, *, temporary: bool, retry_after: float | None = None):
        super().__init__(reason)
        self.temporary = temporary
        self.retry_after = retry_after


def secret(variable: str) -> str:
    """What an environment variable holds.

    Raises:
      Undelivered: it is not set, or empty; names the variable only.
    """
    value = os.environ.get(variable, "")
    if not value:
        raise Undelivered(f"the environment variable {variable} is not set", temporary=False)
    return value
