"""Sending a message: `send(message, channels)`; one module per kind of channel.

A channel is a function `deliver(message, options)` that returns when the message has arrived
and raises `Undelivered` otherwise, saying whether trying again could help. Retries, backoff
and dead letters are here, the same for all. Channels are tried at the same time: one that
does not answer holds up no other.
"""

from __future__ import annotations

import importlib
import logging
import os
import pathlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import tenacity

from monitoring.alerts.channels.dead_letters import DeadLetters
from monitoring.alerts.channels.errors import Undelivered
from monitoring.alerts.message import Delivery, Message, rank
from monitoring.alerts.options import ChannelOptions

_log = logging.getLogger(__name__)
_LONGEST_WAIT = 300.0

#: Type of channel to the module that delivers; imported when first used.
MODULES = {
    "console": "console",
    "file": "file",
    "webhook": "webhook",
    "smtp": "mail",
    "pubsub": "pubsub",
    "prometheus": "prometheus",
}


def send(
    message: Message,
    channels: Sequence[ChannelOptions],
    dead_letters: str | os.PathLike[str] | None = None,
) -> list[Delivery]:
    """Sends a message over every channel that takes its severity.

    Never raises for a channel that fails: an alert that cannot be told must not stop what
    noticed it.

    Args:
      message: What to tell.
      channels: Where.
      dead_letters: File that keeps what no attempt delivered; None: only the log says so.

    Returns:
      What became of it, per channel, in order. A resolved message goes wherever a firing one
      of its severity does.
    """
    if not channels:
        return []
    with ThreadPoolExecutor(len(channels), thread_name_prefix="alert") as pool:
        deliveries = list(pool.map(lambda channel: _try(message, channel), channels))
    for delivery, channel in zip(deliveries, channels, strict=True):
        if delivery.state == "failed":
            _log.error(
                "alert %r was not delivered over %s after %d attempts: %s",
                message.title,
                delivery.channel,
                delivery.attempts,
                delivery.error,
            )
            if dead_letters is not None:
                DeadLetters(pathlib.Path(dead_letters)).add(message, channel, delivery)
    return deliveries


def _try(message: Message, channel: ChannelOptions) -> Delivery:
    if rank(message.severity) < rank(channel.severity):
        return Delivery(channel.title, "skipped")
    kind = channel.type  # type: ignore[attr-defined]
    attempts = 0
    try:
        deliver = importlib.import_module(f"{__name__}.{MODULES[kind]}").deliver
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(channel.attempts),
            wait=_waits(channel.backoff_seconds),
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, Undelivered) and error.temporary
            ),
            reraise=True,
        ):
            with attempt:
                attempts = attempt.retry_state.attempt_number
                deliver(message, channel)
    except Undelivered as error:
        return Delivery(channel.title, "failed", attempts, str(error))
    except Exception as error:  # noqa: BLE001  (a bug in one channel must not silence the others)
        # Its text may hold an address or a password, so only its kind is told.
        _log.debug("channel %s", channel.title, exc_info=True)
        return Delivery(channel.title, "failed", max(attempts, 1), type(error).__name__)
    return Delivery(channel.title, "sent", attempts)


def _waits(first: float):
    """Exponential waits with jitter, or what the receiver asked for where that is longer."""
    grow = tenacity.wait_exponential_jitter(initial=first, max=_LONGEST_WAIT, jitter=first / 2)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None) or 0.0
        return min(max(grow(state), asked), _LONGEST_WAIT)

    return wait
