"""A message, and channels that lose no time."""

from __future__ import annotations

from monitoring.alerts.message import Message

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40
MESSAGE = Message(
    title="fare has drifted <again>",
    text="fare: median 7.85 → 9.65.\nSince Monday.",
    severity="warning",
    facts={"window": "2013-04-01", "PSI": "0.31"},
    next="flywheel alerts show drift:fare",
    picture=PNG,
    key="drift:fare",
)
QUICK = {"backoff_seconds": 0.01, "timeout_seconds": 5.0}
