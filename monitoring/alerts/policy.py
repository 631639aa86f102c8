"""Which incidents ask for a retrain."""

from __future__ import annotations

import dataclasses
import datetime

import sqlalchemy as sa

from monitoring.alerts.message import rank
from monitoring.alerts.options import RetrainOptions
from monitoring.store.incidents import Incident
from monitoring.store.store import Store


@dataclasses.dataclass(frozen=True)
class Request:
    """A wish for a new model.

    Attributes:
      incidents: Numbers of the incidents behind it.
      reasons: Their titles.
    """

    incidents: tuple[int, ...]
    reasons: tuple[str, ...]


def retrain(
    store: Store, options: RetrainOptions, now: datetime.datetime | None = None
) -> Request | None:
    """The request that open incidents make, once per incident; None when there is none to make.

    A silenced incident asks for nothing; an acknowledged one still does. Whoever acts on the
    request (the trigger function, or a person) may have brakes of its own.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    with store.session() as session:
        last = session.scalar(sa.select(sa.func.max(Incident.retrain_at)))
        if last is not None:
            last = last if last.tzinfo else last.replace(tzinfo=datetime.timezone.utc)
            if now - last < datetime.timedelta(hours=options.cooldown_hours):
                return None
        asking = [
            incident
            for incident in session.scalars(
                sa.select(Incident)
                .where(
                    Incident.state.in_(("open", "acknowledged")),
                    Incident.kind.in_(options.kinds),
                    Incident.retrain_at.is_(None),
                )
                .order_by(Incident.id)
            )
            if rank(incident.severity) >= rank(options.severity)  # type: ignore[arg-type]
        ]
        for incident in asking:
            incident.retrain_at = now
        if not asking:
            return None
        return Request(tuple(i.id for i in asking), tuple(i.title for i in asking))
