"""The life of an incident: opened, told, acknowledged or silenced, resolved.

                       ack                      found nowhere for `resolve_after` windows
    open ────────────────────────► acknowledged ────────────────► resolved
      │ ▲ silence(until) ends                                       │ within the cooldown:
      ▼ │                                                           ▼ open again, untold
    silenced                                                       open

What is to be told is written in the same transaction as the change (`pending`), and cleared when
it has been sent: a monitor that is killed between the two tells it the next time.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy import orm

from models.errors import ConfigError
from monitoring.alerts import channels
from monitoring.alerts.causes import Cause, group
from monitoring.alerts.message import SEVERITIES, Delivery, Message, rank
from monitoring.alerts.options import AlertOptions
from monitoring.decisions.finding import Finding
from monitoring.store.incidents import Incident
from monitoring.store.store import Store

_log = logging.getLogger(__name__)
_SHOWN = 12
#: Draws what a finding is about, as a PNG; None where there is nothing to draw.
Draw = Callable[[Finding], bytes | None]
_WORDS = {
    "worse": "It has become worse.",
    "reminder": "Nobody has acknowledged it yet.",
    "escalated": "Nobody has acknowledged it; it is told at a higher severity.",
    "resolved": "It has not been seen in the last windows.",
}


class Incidents:
    """Every incident of a store.

    Args:
      store: Where they are kept.
      options: The config's `alerts`.
    """

    def __init__(self, store: Store, options: AlertOptions):
        self.store, self.options = store, options

    def update(
        self,
        findings: Iterable[Finding],
        window_id: str,
        now: datetime.datetime | None = None,
    ) -> list[Incident]:
        """Takes in what one window showed. Doing it again for that window changes nothing.

        Returns:
          The incidents that are to be told about; `notify` tells.
        """
        now = now or _now()
        with self.store.session() as session:
            alive = {i.key: i for i in session.scalars(_alive())}
            running = {key: incident.features for key, incident in alive.items()}
            causes = {c.key: c for c in group(findings, self.options.group_from, running)}
            for key, cause in causes.items():
                incident = alive.get(key) or self._recent(session, key, now)
                if incident is None:
                    session.add(_opened(cause, window_id, now))
                else:
                    self._seen(incident, cause, window_id, now)
            for key, incident in alive.items():
                if key not in causes:
                    self._unseen(incident, window_id, now)
            session.flush()
            return list(session.scalars(sa.select(Incident).where(Incident.pending != "")))

    def notify(self, draw: Draw | None = None) -> list[Delivery]:
        """Tells what is pending; a picture of the first finding comes along."""
        with self.store.session() as session:
            waiting = list(session.scalars(sa.select(Incident).where(Incident.pending != "")))
        deliveries = []
        for incident in waiting:
            message = message_of(incident, draw)
            deliveries += channels.send(message, self.options.targets, self.options.dead_letters)
            with self.store.session() as session:
                # Whatever changed meanwhile is still to be told.
                session.execute(
                    sa.update(Incident)
                    .where(Incident.id == incident.id, Incident.pending == incident.pending)
                    .values(pending="", told_at=_now())
                )
        return deliveries

    def list(self, states: Sequence[str] = (), limit: int = 200) -> list[Incident]:
        """Incidents, the latest first; all states by default."""
        query = sa.select(Incident).order_by(Incident.seen_at.desc(), Incident.id.desc())
        if states:
            query = query.where(Incident.state.in_(states))
        with self.store.session() as session:
            return list(session.scalars(query.limit(limit)))

    def get(self, name: str) -> Incident:
        """By number, or by key: the latest of that key.

        Raises:
          ConfigError: UNKNOWN_INCIDENT.
        """
        with self.store.session() as session:
            return _find(session, name)

    def acknowledge(self, name: str, who: str = "", text: str = "") -> Incident:
        """Somebody is at it: no reminders, no escalation."""
        return self._by_hand(name, "acknowledged", who, text or "acknowledged")

    def silence(
        self,
        name: str,
        hours: float,
        who: str = "",
        text: str = "",
        now: datetime.datetime | None = None,
    ) -> Incident:
        """Nothing is told about it for so long."""
        until = (now or _now()) + datetime.timedelta(hours=hours)
        return self._by_hand(name, "silenced", who, text or f"silenced for {hours:g} h", until)

    def comment(self, name: str, text: str, who: str = "") -> Incident:
        """Adds a remark."""
        return self._by_hand(name, None, who, text)

    def _by_hand(
        self,
        name: str,
        state: str | None,
        who: str,
        text: str,
        until: datetime.datetime | None = None,
    ) -> Incident:
        with self.store.session() as session:
            incident = _find(session, name)
            if state is not None:
                if incident.state == "resolved":
                    raise ConfigError(
                        "INCIDENT_RESOLVED",
                        f"Incident {incident.id} ({incident.key}) was resolved at "
                        f"{incident.resolved_at:%Y-%m-%d %H:%M} UTC.",
                        next="See what is open with `flywheel alerts`.",
                    )
                incident.state, incident.silenced_until = state, until
                if incident.pending != "resolved":
                    incident.pending = ""
            remark = {"time": _now().isoformat(timespec="seconds"), "who": who, "text": text}
            incident.comments = [*incident.comments, remark]
            return incident

    def _recent(self, session: orm.Session, key: str, now: datetime.datetime) -> Incident | None:
        """One that was resolved so lately that this is the same matter."""
        latest = session.scalars(
            sa.select(Incident).where(Incident.key == key).order_by(Incident.id.desc())
        ).first()
        cooldown = datetime.timedelta(hours=self.options.cooldown_hours)
        if latest is None or latest.resolved_at is None or now - latest.resolved_at >= cooldown:
            return None
        return latest

    def _seen(
        self, incident: Incident, cause: Cause, window_id: str, now: datetime.datetime
    ) -> None:
        again = window_id == incident.last_window and incident.clean == 0
        if incident.state == "resolved":
            incident.state, incident.resolved_at = "open", None
            # Its resolution may not have been told yet: then there is nothing to take back.
            incident.pending = ""
        incident.findings = [f.to_dict() for f in cause.findings]
        incident.features = sorted({*incident.features, *cause.features})
        incident.title, incident.clean = cause.title, 0
        incident.last_window, incident.seen_at = window_id, now
        if not again:
            incident.windows += 1
        self._timers(incident, now)
        if rank(cause.severity) > rank(incident.severity):  # type: ignore[arg-type]
            incident.severity = cause.severity
            if incident.state != "silenced":
                incident.pending = incident.pending or "worse"

    def _unseen(self, incident: Incident, window_id: str, now: datetime.datetime) -> None:
        if window_id != incident.last_window:
            incident.clean += 1
            incident.last_window = window_id
        elif incident.clean == 0:  # the window was looked at again, and it is gone from it
            incident.clean = 1
        if incident.clean >= self.options.resolve_after:
            told = incident.told_at is not None and incident.state != "silenced"
            incident.state, incident.resolved_at = "resolved", now
            incident.silenced_until = None
            incident.pending = "resolved" if told else ""
        else:
            self._timers(incident, now)

    def _timers(self, incident: Incident, now: datetime.datetime) -> None:
        """What time alone brings: the end of a silence, a reminder, an escalation."""
        if incident.state == "silenced":
            if incident.silenced_until is None or now < incident.silenced_until:
                return
            incident.state, incident.silenced_until = "open", None
            incident.pending = "reminder"
        if incident.state != "open" or incident.told_at is None:
            return
        escalate = datetime.timedelta(hours=self.options.escalate_hours)
        remind = datetime.timedelta(hours=self.options.remind_hours)
        place = rank(incident.severity)  # type: ignore[arg-type]
        if not incident.escalated and now - incident.opened_at >= escalate:
            incident.escalated, incident.pending = True, "escalated"
            incident.severity = SEVERITIES[min(place + 1, len(SEVERITIES) - 1)]
        elif now - incident.told_at >= remind:
            incident.pending = incident.pending or "reminder"


def message_of(incident: Incident, draw: Draw | None = None) -> Message:
    """What is told about an incident now."""
    findings = [
        Finding(**{k: tuple(v) if k == "also" else v for k, v in f.items() if k != "key"})
        for f in incident.findings
    ]
    lines = [_WORDS[incident.pending]] if incident.pending in _WORDS else []
    lines += [f"- {f.words}" for f in findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        lines.append(f"- and {len(findings) - _SHOWN} more")
    facts = {
        "incident": f"{incident.id} ({incident.key})",
        "state": incident.state,
        "since": f"{incident.opened_at:%Y-%m-%d %H:%M} UTC, {incident.windows} "
        f"window{'' if incident.windows == 1 else 's'}",
        "window": incident.last_window,
    }
    if findings:
        first = findings[0]
        limit = f" (limit {first.limit:.4g})" if abs(first.limit) < 1e300 else ""
        facts[first.statistic] = f"{first.value:.4g}{limit} on {first.n:,} rows"
    picture = None
    if draw is not None and findings and incident.state != "resolved":
        try:
            picture = draw(findings[0])
        except Exception:  # noqa: BLE001  (an alert without its picture is still an alert)
            _log.warning("no picture of %s", findings[0].key, exc_info=True)
    return Message(
        title=incident.title,
        text="\n".join(lines),
        severity=incident.severity,  # type: ignore[arg-type]
        facts=facts,
        next=f"flywheel alerts show {incident.id}",
        picture=picture,
        key=incident.key,
        status="resolved" if incident.state == "resolved" else "firing",
    )


def _opened(cause: Cause, window_id: str, now: datetime.datetime) -> Incident:
    return Incident(
        key=cause.key,
        kind=cause.kind,
        severity=cause.severity,
        state="open",
        title=cause.title,
        features=cause.features,
        findings=[f.to_dict() for f in cause.findings],
        windows=1,
        clean=0,
        first_window=window_id,
        last_window=window_id,
        opened_at=now,
        seen_at=now,
        escalated=False,
        pending="opened",
        comments=[],
    )


def _alive() -> sa.Select[tuple[Incident]]:
    return sa.select(Incident).where(Incident.state != "resolved").order_by(Incident.id)


def _find(session: orm.Session, name: str) -> Incident:
    by = Incident.id == int(name) if name.isdigit() else Incident.key == name
    found = session.scalars(sa.select(Incident).where(by).order_by(Incident.id.desc())).first()
    if found is None:
        raise ConfigError(
            "UNKNOWN_INCIDENT",
            f"There is no incident `{name}`.",
            next="List them with `flywheel alerts list --all`.",
        )
    return found


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
