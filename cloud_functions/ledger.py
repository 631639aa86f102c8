"""What was seen and decided, kept by key, changed in one transaction.

A ledger has one operation that matters: `update` reads a document, lets a function decide, and
writes what it decided, as one step among all processes. Claims of events, brakes and dead letters
are documents; `claims.py`, `brakes.py` and `dead_letter.py` say what is in them.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from models.errors import ConfigError, FlywheelError

Document = dict[str, Any]
T = TypeVar("T")
#: From the document (None: there is none) to the one to keep (None: as it is) and an answer. It
#: may be called again when another process was faster.
Change = Callable[[Document | None], tuple[Document | None, T]]

KEPT_DAYS = 30
_ALWAYS_DAYS = 3650
_BUSY_SECONDS = 30
_TRIES = 50


class Ledger(Protocol):
    """Documents by key."""

    def update(self, key: str, change: Change[T]) -> T:
        """Reads, decides and writes in one transaction."""

    def read(self, key: str) -> Document | None:
        """The document as it is now."""

    def entries(self, prefix: str) -> Iterator[tuple[str, Document]]:
        """Documents whose key begins so, in the order of their keys."""


class SqliteLedger:
    """A ledger in a SQLite file; for one machine, any number of processes.

    Documents that nothing changed for `KEPT_DAYS` are dropped, but for brakes.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS documents "
                "(key TEXT PRIMARY KEY, body TEXT NOT NULL, changed TEXT NOT NULL) WITHOUT ROWID"
            )
            old = (utc_now() - datetime.timedelta(days=KEPT_DAYS)).isoformat()
            db.execute(
                "DELETE FROM documents WHERE changed < ? AND key NOT LIKE 'brakes/%'", (old,)
            )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            yield db
        finally:
            db.close()

    def update(self, key: str, change: Change[T]) -> T:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                row = db.execute("SELECT body FROM documents WHERE key = ?", (key,)).fetchone()
                kept, answer = change(json.loads(row[0]) if row else None)
                if kept is not None:
                    db.execute(
                        "INSERT OR REPLACE INTO documents VALUES (?, ?, ?)",
                        (key, json.dumps(kept), utc_now().isoformat()),
                    )
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        return answer

    def read(self, key: str) -> Document | None:
        with self._open() as db:
            row = db.execute("SELECT body FROM documents WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def entries(self, prefix: str) -> Iterator[tuple[str, Document]]:
        with self._open() as db:
            rows = db.execute(
                "SELECT key, body FROM documents WHERE substr(key, 1, ?) = ? ORDER BY key",
                (len(prefix), prefix),
            ).fetchall()
        for key, body in rows:
            yield key, json.loads(body)


class FirestoreLedger:
    """A ledger in a Firestore collection.

    Each document has `key`, `body` (JSON) and `expires`: set a time-to-live policy on the latter.

    Args:
      project: Google Cloud project.
      collection: Of the documents.
      database: Of the project.
    """

    def __init__(self, project: str, collection: str, database: str = "(default)"):
        from google.api_core import exceptions
        from google.cloud import firestore

        self._exceptions = exceptions
        self._client = firestore.Client(project=project, database=database)
        self._collection = self._client.collection(collection)

    def _document(self, key: str) -> Any:
        # Names in Firestore may not hold a slash, and are limited in length.
        return self._collection.document(hashlib.sha256(key.encode()).hexdigest())

    def update(self, key: str, change: Change[T]) -> T:
        # Compare and set: Firestore's transactions lock what they read, and twenty of them on one
        # document wait for each other's timeouts.
        reference = self._document(key)
        for attempt in range(_TRIES):
            found = reference.get()
            kept, answer = change(json.loads(found.get("body")) if found.exists else None)
            if kept is None:
                return answer
            days = KEPT_DAYS if not key.startswith("brakes/") else _ALWAYS_DAYS
            expires = utc_now() + datetime.timedelta(days=days)
            values = {"key": key, "body": json.dumps(kept), "expires": expires}
            try:
                if found.exists:
                    unchanged = self._client.write_option(last_update_time=found.update_time)
                    reference.update(values, option=unchanged)
                else:
                    reference.create(values)
                return answer
            except (self._exceptions.Conflict, self._exceptions.FailedPrecondition):
                time.sleep(random.uniform(0.0, min(0.02 * 2**attempt, 1.0)))
        raise FlywheelError(
            "LEDGER_CONTENDED",
            f"The ledger's document {key!r} was changed by others {_TRIES} times in a row.",
            next="The event is delivered again.",
        )

    def read(self, key: str) -> Document | None:
        found = self._document(key).get()
        return json.loads(found.get("body")) if found.exists else None

    def entries(self, prefix: str) -> Iterator[tuple[str, Document]]:
        query = (
            self._collection.order_by("key")
            .start_at({"key": prefix})
            .end_at({"key": prefix + "\uf8ff"})
        )
        for found in query.stream():
            yield found.get("key"), json.loads(found.get("body"))


def open_ledger(address: str) -> Ledger:
    """The ledger at a path, or at `firestore://PROJECT[/DATABASE]/COLLECTION`.

    Raises:
      ConfigError: WRONG_VALUE.
    """
    scheme, _, rest = address.partition("://")
    if not rest:
        return SqliteLedger(address)
    parts = rest.strip("/").split("/")
    if scheme != "firestore" or len(parts) not in (2, 3) or not all(parts):
        raise ConfigError(
            "WRONG_VALUE",
            f"`automation.ledger` is {address!r}; it is a path, or "
            "firestore://PROJECT[/DATABASE]/COLLECTION.",
        )
    return FirestoreLedger(parts[0], parts[-1], *parts[1:-1])


def utc_now() -> datetime.datetime:
    """Now, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)
