"""Predictions from a predict function, in Python.

with Client("http://localhost:8080", "chicago-taxi") as client:
    answer = client.predict([{"fare": 12.5, "payment_type": "Cash"}])
    client.label({answer.request_ids[0]: "1"})
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import tenacity

from models.errors import DataError, FlywheelError


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a predict function said.

    Attributes:
      version: Of the model.
      predictions: One per row, in order: the output by name, and `prediction` for classes; None
        for a row in `errors`.
      request_ids: One per row; a label comes back with it.
      errors: Row, code, message, feature.
    """

    version: str
    predictions: list[dict[str, Any] | None]
    request_ids: list[str]
    errors: list[dict[str, Any]]


class Client:
    """A predict function over HTTP.

    Connections are kept. A request that did not arrive, or was refused for now (429, 503), is
    tried again; one that may have been worked on is not.

    Args:
      url: Of the function.
      name: The model's; checked by the function. Default: whatever it serves.
      token: A bearer token, or what gives one, asked for every request.
      attempts: Of one request.
      timeout: Seconds of one attempt.
    """

    def __init__(
        self,
        url: str,
        name: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        attempts: int = 4,
        timeout: float = 30.0,
    ):
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=timeout)
        self._path = f"/v1/models/{name}:predict" if name else "/predict"
        self._token = token
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((httpx.ConnectError, _Later)),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_random_exponential(0.1, max=5.0),
            reraise=True,
        )

    def predict(
        self, rows: Sequence[Mapping[str, Any]], *, request_id: str | None = None
    ) -> Answer:
        """Predicts rows in one request.

        Args:
          rows: Feature to value; None where missing.
          request_id: Made by the function by default.

        Raises:
          DataError: the function's code and sentence, when no row could be predicted.
          FlywheelError: NO_ANSWER, SERVER_FAILED.
        """
        headers = {"X-Request-Id": request_id} if request_id else {}
        body = self._post(self._path, {"instances": [dict(row) for row in rows]}, headers)
        return Answer(
            body["model_version"], body["predictions"], body["request_ids"], body.get("errors", [])
        )

    def label(self, labels: Mapping[str, Any]) -> int:
        """Says what turned out to be true: request id to label.

        Returns:
          How many were taken.

        Raises:
          DataError: when a label was refused; those before and after it are kept.
        """
        entries = [{"request_id": key, "label": value} for key, value in labels.items()]
        body = self._post("/labels", {"labels": entries}, {})
        if "errors" in body:
            raise DataError(body["errors"][0]["code"], body["error"], cases=body["errors"])
        return body["accepted"]

    def ready(self) -> str | None:
        """The serving version; None while there is none or nothing answers."""
        try:
            answer = self._http.get("/ready", headers=self._authorization())
        except httpx.TransportError:
            return None
        return answer.json()["model_version"] if answer.status_code == 200 else None

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _authorization(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        def attempt() -> httpx.Response:
            response = self._http.post(
                path, json=body, headers={**headers, **self._authorization()}
            )
            if response.status_code in (429, 503):
                raise _Later(response)
            return response

        where = f"The predict function at {self._http.base_url}"
        try:
            response = self._retry(attempt)
        except _Later as later:
            response = later.response
        except httpx.TransportError as error:
            raise FlywheelError(
                "NO_ANSWER", f"{where} did not answer: {error}.", next="See whether it runs."
            ) from error
        try:
            content = response.json()
        except ValueError:
            content = {}
        if 400 <= response.status_code < 500 and "error" in content:
            errors = content.get("errors", [])
            code = content.get("code") or (errors[0]["code"] if errors else "REFUSED")
            raise DataError(code, content["error"], cases=errors)
        if response.status_code != 200:
            said = content.get("error") or f"status {response.status_code}"
            raise FlywheelError(
                "SERVER_FAILED", f"{where} failed: {said}", next="See the function's log."
            )
        return content


class _Later(Exception):
    """Refused for now."""

    def __init__(self, response: httpx.Response):
        super().__init__(response.status_code)
        self.response = response
