"""The table of incidents."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from monitoring.store.base import Base, UtcDateTime


class Incident(Base):
    """One matter that people are told about, from its first finding to its resolution.

    Attributes:
      id: Number.
      key: Its cause, the same whenever it comes back: `drift/fare`.
      state: `open`, `acknowledged`, `silenced` or `resolved`.
      features: Columns it is about.
      findings: The last window's, as dicts.
      windows: In how many windows it was seen.
      clean: Windows in a row without it.
      last_window: The last window that was looked at for it.
      pending: A message that is still to be sent: `opened`, `worse`, `reminder`, `escalated`,
        `resolved`; empty otherwise.
      comments: `time`, `who`, `text`.
    """

    __tablename__ = "incidents"

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=True)
    key: orm.Mapped[str] = orm.mapped_column(sa.String(400), index=True)
    kind: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    severity: orm.Mapped[str] = orm.mapped_column(sa.String(8))
    state: orm.Mapped[str] = orm.mapped_column(sa.String(16), index=True)
    title: orm.Mapped[str] = orm.mapped_column(sa.Text)
    features: orm.Mapped[list[str]] = orm.mapped_column(sa.JSON)
    findings: orm.Mapped[list[dict[str, Any]]] = orm.mapped_column(sa.JSON)
    windows: orm.Mapped[int]
    clean: orm.Mapped[int]
    first_window: orm.Mapped[str] = orm.mapped_column(sa.String(160))
    last_window: orm.Mapped[str] = orm.mapped_column(sa.String(160))
    opened_at: orm.Mapped[datetime.datetime] = orm.mapped_column(UtcDateTime)
    seen_at: orm.Mapped[datetime.datetime] = orm.mapped_column(UtcDateTime)
    told_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(UtcDateTime)
    resolved_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(UtcDateTime)
    silenced_until: orm.Mapped[datetime.datetime | None] = orm.mapped_column(UtcDateTime)
    escalated: orm.Mapped[bool]
    pending: orm.Mapped[str] = orm.mapped_column(sa.String(16))
    retrain_at: orm.Mapped[datetime.datetime | None] = orm.mapped_column(UtcDateTime)
    comments: orm.Mapped[list[dict[str, str]]] = orm.mapped_column(sa.JSON)
