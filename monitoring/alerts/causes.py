"""Findings with one cause are one matter: a broken schema is one incident, not forty."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from monitoring.alerts.message import Severity, rank
from monitoring.alerts.options import Kind
from monitoring.decisions.finding import Finding
from monitoring.measure import WINDOW

_NAMES = {
    "schema": "The schema is broken",
    "quality": "Data quality",
    "drift": "Drift",
    "prediction": "Predictions",
    "performance": "Performance has fallen",
    "service": "Service",
    "volume": "Volume",
}


@dataclasses.dataclass(frozen=True)
class Cause:
    """Findings that belong together.

    Attributes:
      key: The same from window to window.
      kind: Of the finding that says most.
      findings: The most important one first.
    """

    key: str
    kind: Kind
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        return max((f.severity for f in self.findings), key=rank)

    @property
    def features(self) -> list[str]:
        return sorted({f.feature for f in self.findings})

    @property
    def title(self) -> str:
        """One line: what, of which columns."""
        first, features = self.findings[0], self.features
        if self.kind in ("performance", "service", "volume") or first.feature == WINDOW:
            return f"{_NAMES[self.kind]}: {first.words}"
        if len(features) == 1:
            return f"{_NAMES[self.kind]}: {first.words}"
        shown = ", ".join(features[:4]) + (" …" if len(features) > 4 else "")
        return f"{_NAMES[self.kind]} in {len(features)} columns: {shown}"


def group(
    findings: Iterable[Finding], group_from: int, running: Mapping[str, Sequence[str]] = {}
) -> list[Cause]:
    """Causes of a window's findings; those that are only information have none.

    Args:
      findings: Of one window.
      group_from: So many features drifting at once are one cause.
      running: Key of each incident that is not resolved to its features: findings stay with it
        when fewer or more of their like are there than before.
    """
    told = [f for f in findings if f.severity != "info"]
    whole = {f.key for f in told if not f.slice}
    told = [f for f in told if not f.slice or f"{f.kind}/{f.feature}" not in whole]
    broken = {f.feature for f in told if f.kind == "schema"}
    unfit = {f.feature for f in told if f.kind == "quality"} - broken - {WINDOW}
    keys: dict[str, list[Finding]] = defaultdict(list)
    drifting: list[Finding] = []
    for finding in told:
        if finding.kind == "schema" or (
            finding.feature in broken and finding.kind in ("quality", "drift")
        ):
            keys["schema"].append(finding)
        elif finding.kind == "performance":
            keys["performance"].append(finding)
        elif finding.kind == "service":
            name = "latency" if finding.statistic.startswith("latency") else finding.statistic
            keys[f"service/{name}"].append(finding)
        elif finding.kind == "drift" and finding.feature in unfit:
            keys[_of("quality", finding)].append(finding)
        elif finding.kind == "drift":
            drifting.append(finding)
        else:
            keys[finding.key].append(finding)
    for key in list(keys):
        if not key.startswith("quality/"):
            continue
        together = f"quality/{keys[key][0].statistic}"
        if len([k for k in keys if k.startswith("quality/")]) >= group_from or (
            keys[key][0].feature in running.get(together, ())
        ):
            keys[together] += keys.pop(key)
    many = len({f.feature for f in drifting}) >= group_from
    for finding in drifting:
        alone = finding.key in running
        joined = finding.feature in running.get("drift/(features)", ())
        keys["drift/(features)" if joined or (many and not alone) else finding.key].append(finding)
    return [_cause(key, found) for key, found in keys.items()]


def _of(kind: Kind, finding: Finding) -> str:
    return dataclasses.replace(finding, kind=kind).key


def _cause(key: str, findings: Sequence[Finding]) -> Cause:
    kind = key.partition("/")[0]
    ordered = sorted(
        findings,
        key=lambda f: (f.kind != kind, -rank(f.severity), -(f.importance or 0.0), f.key),
    )
    return Cause(key, kind, tuple(ordered))  # type: ignore[arg-type]
