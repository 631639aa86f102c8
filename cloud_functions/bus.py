"""The platform's part on one machine: topics that push, a watched folder, a clock.

Deliveries are at least once. One that is not acknowledged comes again, later each time; after
`attempts` failures it becomes a dead letter. What was published is kept in the ledger until it is
acknowledged, so that a restart loses nothing.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import json
import logging
import pathlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from cloud_functions import dead_letter
from cloud_functions.drops import LOCAL, Folder
from cloud_functions.ledger import Document, Ledger, utc_now

PREFIX = "bus/"
_LONGEST_WAIT = 60.0
_TIMEOUT = 600.0
_logger = logging.getLogger(__name__)


class Bus:
    """Topics with push subscriptions.

    Args:
      subscriptions: Topic to the URL it pushes to.
      ledger: Keeps what is under way.
      attempts: Failures until a dead letter.
      first_wait: Seconds before the second delivery; doubled each time.
      port: To publish at; 0: a free one.
    """

    def __init__(
        self,
        subscriptions: Mapping[str, str],
        ledger: Ledger,
        *,
        attempts: int = 10,
        first_wait: float = 0.5,
        port: int = 0,
    ):
        self._subscriptions, self._ledger = dict(subscriptions), ledger
        self._attempts, self._first_wait = attempts, first_wait
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="bus")
        self._stopped = threading.Event()
        self._count, self._serving = 0, False
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, topic: str) -> str:
        """Where to publish."""
        return f"http://127.0.0.1:{self.port}/topics/{topic}:publish"

    def start(self) -> None:
        """Takes messages, and goes on with what an earlier process left."""
        self._serving = True
        threading.Thread(target=self._server.serve_forever, name="bus", daemon=True).start()
        for key, found in list(self._ledger.entries(PREFIX)):
            if found["state"] == "waiting":
                self._submit(key, found)

    def stop(self) -> None:
        """Ends; what waits is delivered after the next start."""
        self._stopped.set()
        if self._serving:
            self._server.shutdown()
        self._server.server_close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def publish(self, topic: str, data: str) -> str:
        """Takes a message.

        Args:
          topic: One with a subscription.
          data: Base64, as Pub/Sub's API has it.

        Returns:
          Its id.
        """
        if topic not in self._subscriptions:
            raise KeyError(topic)
        with self._lock:
            self._count += 1
            identity = f"{time.time_ns()}{self._count:04d}"
        message = {
            "message": {
                "data": data,
                "messageId": identity,
                "publishTime": utc_now().isoformat().replace("+00:00", "Z"),
                "attributes": {},
            },
            "subscription": f"projects/local/subscriptions/{topic}",
        }
        self.send(
            self._subscriptions[topic], {"Content-Type": "application/json"}, message, identity
        )
        return identity

    def send(self, url: str, headers: Mapping[str, str], body: Any, identity: str) -> None:
        """Delivers a request until it is acknowledged, or is a dead letter."""
        document = {"state": "waiting", "url": url, "headers": dict(headers), "body": body}
        key = f"{PREFIX}{identity}"

        def change(found: Document | None) -> tuple[Document | None, bool]:
            return (document, True) if found is None else (None, False)

        if self._ledger.update(key, change):
            self._submit(key, document)

    def _deliver(self, key: str, document: Document, failures: int = 0, wait: float = 0.0) -> None:
        """One delivery, and the date of the next where it is not acknowledged."""
        if self._stopped.is_set():
            return
        wait, later = wait or self._first_wait, 0.0
        try:
            answer = httpx.post(
                document["url"],
                content=json.dumps(document["body"]),
                headers=document["headers"],
                timeout=_TIMEOUT,
            )
            if answer.is_success:
                self._settle(key, "acknowledged")
                return
            said = f"{answer.status_code}: {answer.text[:500]}"
            later = float(answer.headers.get("Retry-After", 0) or 0)
        except httpx.HTTPError as error:
            said = f"{type(error).__name__}: {error}"
        failures += not later  # one that says when to come again has not failed
        if failures >= self._attempts:
            message = f"{failures} deliveries to {document['url']} failed; the last: {said}"
            text = json.dumps(document["body"])
            dead_letter.keep(self._ledger, "bus", key, "UNDELIVERED", message, text)
            self._settle(key, "dead")
            _logger.error("%s: %s", key, message)
            return
        pause = min(later or wait * random.uniform(0.75, 1.25), _LONGEST_WAIT)
        wait = wait if later else wait * 2
        timer = threading.Timer(pause, self._submit, (key, document, failures, wait))
        timer.daemon = True
        timer.start()

    def _submit(self, *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # stopped meanwhile: the ledger keeps it
            self._pool.submit(self._deliver, *arguments)

    def _settle(self, key: str, state: str) -> None:
        self._ledger.update(key, lambda found: ({"state": state}, None))


def _handler(bus: Bus) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802  (the name that http.server calls)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = self.path.removeprefix("/topics/").removesuffix(":publish")
            try:
                messages = [m["data"] for m in json.loads(body)["messages"]]
                for data in messages:
                    json.loads(base64.b64decode(data, validate=True))
                ids = [bus.publish(name, data) for data in messages]
                status, answer = 200, {"messageIds": ids}
            except KeyError as error:
                status, answer = 404, {"error": f"There is no {error}."}
            except (ValueError, TypeError) as error:
                status, answer = 400, {"error": f"Not a publish request: {error}."}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            _logger.debug(format, *arguments)

    return Handler


class Watcher:
    """Tells of files that are finished: the finalized event of a bucket, for a folder.

    A file counts as finished when two looks found the same size and time. Files that were there
    before are told of, too: their events have the same ids, and are known in the ledger.

    Args:
      folder: What is watched.
      url: Of on_new_data.
      bus: Delivers.
      max_age_hours: Files older than this are not told of.
      seconds: Between looks.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        url: str,
        bus: Bus,
        *,
        max_age_hours: float = 24.0,
        seconds: float = 0.5,
    ):
        self._folder, self._url, self._bus = Folder(folder), url, bus
        self._most = datetime.timedelta(hours=max_age_hours)
        self._seconds = seconds
        self._stopped = threading.Event()
        self._seen: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="inbox", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def look(self) -> None:
        """One look."""
        for entry in self._folder.entries(""):
            mark = f"{entry.size}-{entry.generation}"
            steady = self._seen.get(entry.name) == mark
            self._seen[entry.name] = mark
            fresh = utc_now() - entry.updated < self._most
            if not steady or not fresh or (entry.name, mark) in self._told:
                continue
            self._told.add((entry.name, mark))
            moment = entry.updated.isoformat().replace("+00:00", "Z")
            headers = {
                "Content-Type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": f"{entry.name}@{mark}".encode("ascii", "backslashreplace").decode(),
                "ce-source": f"//storage/buckets/{LOCAL}",
                "ce-type": "google.cloud.storage.object.v1.finalized",
                "ce-time": moment,
            }
            body = {
                "bucket": LOCAL,
                "name": entry.name,
                "size": str(entry.size),
                "generation": entry.generation,
                "updated": moment,
            }
            self._bus.send(self._url, headers, body, f"file/{entry.name}@{mark}")

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self.look()
            except OSError:
                _logger.exception("the inbox could not be read")


class Clock:
    """Calls a function every so often.

    Args:
      seconds: Between calls.
      call: What to do; its errors are logged.
    """

    def __init__(self, seconds: float, call: Callable[[], None]):
        self._seconds, self._call = seconds, call
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="clock", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._call()
            except Exception:  # the next call may do better
                _logger.exception("a scheduled call failed")
