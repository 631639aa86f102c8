"""Tables of windows: what was read, what was counted, what was measured."""

from __future__ import annotations

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from monitoring.store.base import Base, UtcDateTime

OPEN, CLOSED, REVISED = "OPEN", "CLOSED", "REVISED"


class Window(Base):
    """One window of one pipeline (`scope`: its name).

    `measured` is the revision that the measures are of: a window that is closed and whose
    `revision` is ahead of it waits to be measured. Labels raise the revision as rows do.
    """

    __tablename__ = "windows"

    id: Mapped[str] = mapped_column(sa.String(160), primary_key=True)
    scope: Mapped[str] = mapped_column(sa.String(80), index=True)
    kind: Mapped[str] = mapped_column(sa.String(8))
    number: Mapped[int] = mapped_column(sa.Integer)
    start: Mapped[datetime.datetime] = mapped_column(UtcDateTime, index=True)
    end: Mapped[datetime.datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(sa.String(8), default=OPEN)
    rows: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    late_rows: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    versions: Mapped[dict[str, int]] = mapped_column(sa.JSON, default=dict)
    revision: Mapped[int] = mapped_column(sa.Integer, default=0)
    measured: Mapped[int] = mapped_column(sa.Integer, default=-1)
    measured_at: Mapped[datetime.datetime | None] = mapped_column(UtcDateTime)
    facts: Mapped[dict[str, Any]] = mapped_column(sa.JSON, default=dict)


class ReadFile(Base):
    """A file of the log whose rows are counted: never again."""

    __tablename__ = "read_files"

    scope: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    rows: Mapped[int] = mapped_column(sa.BigInteger)


class Part(Base):
    """Which rows of a file are in a window: `first` to `stop`, -1 for those within its time."""

    __tablename__ = "parts"

    window_id: Mapped[str] = mapped_column(
        sa.ForeignKey("windows.id", ondelete="CASCADE"), primary_key=True
    )
    scope: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    first: Mapped[int] = mapped_column(sa.BigInteger)
    stop: Mapped[int] = mapped_column(sa.BigInteger)


class SummaryRow(Base):
    """The mergeable summary of one slice of a window, as bytes."""

    __tablename__ = "summaries"

    window_id: Mapped[str] = mapped_column(
        sa.ForeignKey("windows.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    slice: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    content: Mapped[bytes] = mapped_column(sa.LargeBinary)


class MeasureRow(Base):
    """One `monitoring.measure.Measure` of a window's newest revision; NaN is null."""

    __tablename__ = "measures"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
    )
    window_id: Mapped[str] = mapped_column(
        sa.ForeignKey("windows.id", ondelete="CASCADE"), index=True
    )
    feature: Mapped[str] = mapped_column(sa.String(300))
    statistic: Mapped[str] = mapped_column(sa.String(64))
    slice: Mapped[str] = mapped_column(sa.String(300), default="")
    family: Mapped[str] = mapped_column(sa.String(16))
    against: Mapped[str] = mapped_column(sa.String(16))
    value: Mapped[float | None] = mapped_column(sa.Float(53))
    n: Mapped[int] = mapped_column(sa.BigInteger)
    reference_n: Mapped[int] = mapped_column(sa.BigInteger)
    p_value: Mapped[float | None] = mapped_column(sa.Float(53))
    low: Mapped[float | None] = mapped_column(sa.Float(53))
    high: Mapped[float | None] = mapped_column(sa.Float(53))
    words: Mapped[str] = mapped_column(sa.Text, default="")
    unreliable: Mapped[str] = mapped_column(sa.Text, default="")


class FindingRow(Base):
    """One finding about a window's newest revision, as `monitoring.decisions` gives it."""

    __tablename__ = "findings"

    id: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
    )
    window_id: Mapped[str] = mapped_column(
        sa.ForeignKey("windows.id", ondelete="CASCADE"), index=True
    )
    content: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
