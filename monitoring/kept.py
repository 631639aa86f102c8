"""A window's measures and findings as rows of the store, which knows no NaN and no infinity."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from monitoring.decisions.finding import Finding
from monitoring.measure import Measure
from monitoring.store.windows import FindingRow, MeasureRow


def replace(
    session: Session, window_id: str, measures: Iterable[Measure], findings: Iterable[Finding]
) -> None:
    """Puts these in the place of what was kept of the window."""
    for table in (MeasureRow, FindingRow):
        session.execute(sa.delete(table).where(table.window_id == window_id))
    session.add_all(_row_of(measure, window_id) for measure in measures)
    session.add_all(
        FindingRow(window_id=window_id, content=_finite(finding.to_dict())) for finding in findings
    )


def measures(session: Session, window_id: str) -> list[Measure]:
    """In the order in which they were made."""
    rows = sa.select(MeasureRow).where(MeasureRow.window_id == window_id).order_by(MeasureRow.id)
    return [_measure_of(row) for row in session.scalars(rows)]


def findings(session: Session, window_id: str) -> list[Finding]:
    """In the order in which they were made."""
    names = {field.name for field in dataclasses.fields(Finding)}
    rows = sa.select(FindingRow).where(FindingRow.window_id == window_id).order_by(FindingRow.id)
    found = []
    for row in session.scalars(rows):
        content = {key: value for key, value in row.content.items() if key in names}
        for key in ("value", "limit"):
            content[key] = math.nan if content[key] is None else content[key]
        found.append(Finding(**{**content, "also": tuple(content.get("also", ()))}))
    return found


def _row_of(measure: Measure, window_id: str) -> MeasureRow:
    content = measure.to_dict()
    content["window_id"] = window_id
    for key in ("value", "p_value", "low", "high"):
        value = content[key]
        content[key] = float(value) if value is not None and math.isfinite(value) else None
    return MeasureRow(**content)


def _measure_of(row: MeasureRow) -> Measure:
    names = [field.name for field in dataclasses.fields(Measure)]
    content = {name: getattr(row, name) for name in names}
    content["value"] = math.nan if content["value"] is None else content["value"]
    return Measure(**content)


def _finite(content: Mapping[str, object]) -> dict[str, object]:
    return json.loads(
        json.dumps(
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in content.items()
            }
        )
    )
