"""What the checks find, and how findings become the reasons of a verdict.

Every check reports all it finds; nothing is raised and nothing decided until all are in.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from custom_components.schema_validator.options import DEFAULT_POLICY, ValidationOptions
from models.errors import Reason

MAX_CASES = 36
NAMED = 5
SEVERITIES = ("block", "warn", "info")
SEVERITY_OF_ACTION = {"block": "block", "warn": "warn", "ignore": "info"}

#: How a reason begins when several columns share it.
HEADLINES = {
    "COLUMN_MISSING": "{n} columns are missing",
    "COLUMN_NEW": "{n} columns are new",
    "COLUMN_RENAMED": "{n} columns seem to have been renamed",
    "TYPE_CHANGED": "{n} columns changed their type",
    "DOMAIN_UNEXPECTED_VALUES": "{n} columns hold values that were not expected",
    "PRESENCE_LOW": "{n} columns have more empty cells than expected",
    "SCHEMA_ANOMALY": "{n} columns do not fit the schema",
    "SPLIT_MISMATCH": "{n} columns differ between the splits",
    "DRIFT_CATEGORICAL": "{n} categorical columns drifted",
    "DRIFT_NUMERIC": "{n} numeric columns drifted",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that one check found.

    Attributes:
      code: Reason code.
      column: What it is about; empty when it is about the data as a whole.
      message: What, where and why, in a sentence or two.
      next: What to do about it.
      cases: Rows of the reason's table.
      harmless: It is told, whatever the policy says, and never judged.
    """

    code: str
    column: str
    message: str
    next: str = ""
    cases: tuple[dict[str, Any], ...] = ()
    harmless: bool = False


def reasons(findings: Iterable[Finding], options: ValidationOptions) -> tuple[Reason, ...]:
    """One reason per code and severity, blocking ones first.

    A code that the policy ignores stays as information: a verdict hides nothing.
    """
    order = [*DEFAULT_POLICY]

    def severity(finding: Finding) -> str:
        if finding.harmless or finding.code not in DEFAULT_POLICY:
            return "info"
        return SEVERITY_OF_ACTION[options.action(finding.code)]

    def key(finding: Finding) -> tuple[int, int, str]:
        place = order.index(finding.code) if finding.code in order else -1
        return SEVERITIES.index(severity(finding)), place, finding.code

    return tuple(
        _reason(code, SEVERITIES[level], list(group))
        for (level, _, code), group in itertools.groupby(sorted(findings, key=key), key=key)
    )


def _reason(code: str, severity: str, group: list[Finding]) -> Reason:
    cases = tuple(case for finding in group for case in finding.cases)
    message = group[0].message
    columns = list(dict.fromkeys(finding.column for finding in group if finding.column))
    if len(columns) > 1 and code in HEADLINES:
        names = ", ".join(f"`{column}`" for column in columns[:NAMED])
        rest = len(columns) - NAMED
        names += f" and {rest} more" if rest > 0 else ""
        message = f"{HEADLINES[code].format(n=len(columns))}: {names}. {message}"
    elif len(group) > 1:
        message = " ".join(dict.fromkeys(finding.message for finding in group))
    if len(cases) > MAX_CASES:
        message += f" (The table shows {MAX_CASES} of {len(cases)} cases.)"
    return Reason(code, message, cases[:MAX_CASES], group[0].next, severity)
