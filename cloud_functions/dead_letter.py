"""Events that nothing can be done with: acknowledged, and kept with the reason."""

from __future__ import annotations

import hashlib
from typing import Any

from cloud_functions.ledger import Document, Ledger, utc_now

PREFIX = "dead/"
_MOST = 64 << 10


def keep(
    ledger: Ledger, function: str, key: str, code: str, message: str, body: bytes | Any
) -> str:
    """Writes the record; the same event again replaces it.

    Args:
      function: Which could not handle it.
      key: The event's; empty for one that could not be read.
      code: Reason code.
      message: Why, in a sentence.
      body: What was delivered; its first 64 KiB are kept.

    Returns:
      The record's id.
    """
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    digest = hashlib.sha256((key or text).encode("utf-8", "replace")).hexdigest()[:16]
    record = {
        "function": function,
        "event": key,
        "code": code,
        "message": message,
        "body": text[:_MOST],
        "at": utc_now().isoformat(timespec="seconds"),
    }

    def change(found: Document | None) -> tuple[Document, None]:
        return {**record, "times": (found or {}).get("times", 0) + 1}, None

    ledger.update(f"{PREFIX}{function}/{digest}", change)
    return digest


def records(ledger: Ledger, function: str = "") -> list[Document]:
    """All records, or one function's; each with its `id`."""
    prefix = f"{PREFIX}{function}/" if function else PREFIX
    return [{"id": key.rpartition("/")[2], **found} for key, found in ledger.entries(prefix)]
