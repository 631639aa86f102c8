"""Runs at set times, started by the control center while it is open.

A schedule on Kubeflow (`flywheel deploy --schedule`) needs nobody to be there; these do: a
time that passes while no control center is open is missed, once, and said so.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import logging
import pathlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

from apscheduler.triggers.cron import CronTrigger

from control_center import jobs, supervision
from control_center.center import Center
from models.errors import ConfigError, FlywheelError

log = logging.getLogger(__name__)
_MOST = 20
_TICK_SECONDS = 5.0
#: Later than this, a time was missed and is not made up for.
_LATE_SECONDS = 120
WHAT = ("run", "monitor")


class Schedules:
    """The schedules of a workspace; one file, one writer at a time.

    Args:
      center: Whose.
    """

    def __init__(self, center: Center):
        self._center = center

    @property
    def _path(self) -> pathlib.Path:
        return self._center.own / "schedules.json"

    def list(self) -> list[dict[str, Any]]:
        """All, with the next time of each that is not paused."""
        return [{**s, "next": None if s["paused"] else s["next"]} for s in self._read()]

    def create(self, cron: str, what: str, user: str) -> dict[str, Any]:
        """Adds one.

        Args:
          cron: Five fields, UTC.
          what: `run` or `monitor`.
          user: Who wants it.

        Raises:
          ConfigError: WRONG_VALUE.
        """
        made = {
            "id": secrets.token_hex(4),
            "cron": cron,
            "what": what,
            "user": user,
            "paused": False,
            "next": next_time(cron),
            "last": None,
        }
        with self._changed() as found:
            if len(found) >= _MOST:
                raise ConfigError("WRONG_VALUE", f"There are {_MOST} schedules: delete one first.")
            found.append(made)
        return made

    def change(self, schedule_id: str, *, paused: bool) -> dict[str, Any]:
        """Pauses or resumes one.

        Raises:
          ConfigError: UNKNOWN_SCHEDULE.
        """
        with self._changed() as found:
            one = _find(found, schedule_id)
            one["paused"] = paused
            one["next"] = next_time(one["cron"])
            return dict(one)

    def delete(self, schedule_id: str) -> None:
        """Removes one.

        Raises:
          ConfigError: UNKNOWN_SCHEDULE.
        """
        with self._changed() as found:
            found.remove(_find(found, schedule_id))

    def fire(self, now: float | None = None) -> list[dict[str, Any]]:
        """Starts what is due; each time is started by one process, whoever else looks.

        Returns:
          Those that were due, each with `last`: when, and what came of it.
        """
        now = now or datetime.datetime.now(datetime.timezone.utc).timestamp()
        due = []
        if not any(s["next"] <= now and not s["paused"] for s in self._read()):
            return []
        with self._changed() as found:
            for one in found:
                if not one["paused"] and one["next"] <= now:
                    late = now - one["next"] > _LATE_SECONDS
                    one["last"] = {"at": one["next"], "outcome": "missed" if late else "starting"}
                    one["next"] = next_time(one["cron"], now)
                    due.append(dict(one))
        for one in due:
            if one["last"]["outcome"] == "starting":
                one["last"]["outcome"] = self._start(one)
            with self._changed() as found:
                for kept in found:
                    if kept["id"] == one["id"]:
                        kept["last"] = one["last"]
            self._center.audit.write(
                f"schedule {one['id']}", f"schedule.{one['what']}", **one["last"]
            )
        return due

    def _start(self, schedule: dict[str, Any]) -> str:
        try:
            if schedule["what"] == "run":
                return supervision.start(
                    self._center.standby, self._center.config, user=f"schedule {schedule['id']}"
                )
            return jobs.start(self._center, "monitor", f"schedule {schedule['id']}")
        except FlywheelError as error:
            return error.reason.code

    def _read(self) -> list[dict[str, Any]]:
        try:
            return json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return []

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[dict[str, Any]]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path.with_suffix(".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self._read()
            yield found
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(found, indent=1), "utf-8")
            temporary.replace(self._path)


class Clock:
    """Looks at the schedules every few seconds, while the application is open."""

    def __init__(self, center: Center):
        self._schedules = Schedules(center)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._turn, name="schedules", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _turn(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            try:
                self._schedules.fire()
            except Exception:  # one bad moment must not end all later ones
                log.exception("looking at the schedules")


def next_time(cron: str, after: float | None = None) -> float:
    """When a schedule is due next, in seconds since the epoch.

    Raises:
      ConfigError: WRONG_VALUE.
    """
    utc = datetime.timezone.utc
    try:
        trigger = CronTrigger.from_crontab(cron, timezone=utc)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "WRONG_VALUE",
            f"`{cron}` is no schedule: {error}.",
            next="Five fields, UTC: `30 4 * * mon` is Mondays 4:30.",
        ) from None
    moment = (
        datetime.datetime.now(utc) if after is None else datetime.datetime.fromtimestamp(after, utc)
    )
    found = trigger.get_next_fire_time(None, moment + datetime.timedelta(seconds=1))
    if found is None:
        raise ConfigError("WRONG_VALUE", f"`{cron}` never comes.")
    return found.timestamp()


def _find(found: list[dict[str, Any]], schedule_id: str) -> dict[str, Any]:
    for one in found:
        if one["id"] == schedule_id:
            return one
    raise ConfigError("UNKNOWN_SCHEDULE", "There is no such schedule.", next="See the list.")
