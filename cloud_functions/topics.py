"""Publishing events: on Google Cloud Pub/Sub by its REST API, or on a local bus."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import httpx

_SECONDS = 20.0
_PUBSUB = "https://pubsub.googleapis.com"


def publish(topic: str, payload: dict[str, Any]) -> str:
    """Publishes a payload, once it returns for good.

    Args:
      topic: `projects/PROJECT/topics/TOPIC`, or a URL that takes Pub/Sub's publish request.
      payload: JSON-ready.

    Returns:
      The message's id.

    Raises:
      httpx.HTTPError: it was not taken.
    """
    data = base64.b64encode(json.dumps(payload, default=str).encode()).decode()
    url, headers = topic, {}
    if topic.startswith("projects/"):
        emulator = os.environ.get("PUBSUB_EMULATOR_HOST")
        base = f"http://{emulator}" if emulator else _PUBSUB
        url = f"{base}/v1/{topic}:publish"
        headers = {} if emulator else {"Authorization": f"Bearer {_token()}"}
    answer = httpx.post(url, json={"messages": [{"data": data}]}, headers=headers, timeout=_SECONDS)
    answer.raise_for_status()
    return answer.json()["messageIds"][0]


def _token() -> str:
    import google.auth
    import google.auth.transport.requests

    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/pubsub"])
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token
