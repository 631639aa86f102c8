"""A message on a Pub/Sub topic; `PUBSUB_EMULATOR_HOST` works as everywhere."""

from __future__ import annotations

import concurrent.futures
import json

from monitoring.alerts.channels.errors import Undelivered
from monitoring.alerts.message import Message
from monitoring.alerts.options import PubSubChannel


def deliver(message: Message, options: PubSubChannel) -> None:
    from google.api_core import exceptions, retry
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import pubsub_v1  # 1.4 s, so only when a topic is used

    body = json.dumps(message.to_dict(), ensure_ascii=False).encode("utf-8")
    # Delivery is at least once: subscribers tell copies by `id`.
    attributes = {
        "id": message.id,
        "key": message.key,
        "severity": message.severity,
        "status": message.status,
    }
    seconds = options.timeout_seconds
    try:
        publisher = pubsub_v1.PublisherClient()
        try:
            publisher.publish(
                options.topic,
                body,
                retry=retry.Retry(deadline=seconds),
                timeout=seconds,
                **attributes,
            ).result(timeout=seconds + 1.0)
        finally:
            publisher.stop()
            publisher.transport.close()
    except GoogleAuthError:
        raise Undelivered("there are no usable credentials", temporary=False) from None
    except (concurrent.futures.TimeoutError, exceptions.RetryError):
        raise Undelivered("no answer in time", temporary=True) from None
    except exceptions.GoogleAPICallError as error:
        permanent = (exceptions.NotFound, exceptions.Forbidden, exceptions.InvalidArgument)
        raise Undelivered(
            f"answered {type(error).__name__}", temporary=not isinstance(error, permanent)
        ) from None
