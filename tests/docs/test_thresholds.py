"""The worked example of docs/thresholds.md is what the code says."""

from __future__ import annotations

import json
import pathlib
import re

import pytest

from benchmarks import monitoring_tables
from monitoring.alerts.options import AlertOptions, Channel
from monitoring.decisions import laws, rules
from monitoring.decisions.options import ThresholdOptions

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def test_the_table_of_limits():
    text = (DOCS / "thresholds.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\d,]+) rows \| (0\.\d{4}) \| (0\.\d{4}) \|$", text, re.MULTILINE)
    assert len(rows) == 3
    for rows_of, psi, ks in rows:
        n = int(rows_of.replace(",", ""))
        assert float(psi) == pytest.approx(laws.psi_limit(0.0005, 10, n, 100_000), abs=5e-5)
        assert float(ks) == pytest.approx(laws.ks_limit(0.0005, n, 100_000), abs=5e-5)


def test_the_tables_are_what_was_measured():
    """`python -m benchmarks.monitoring_tables` would change nothing."""
    kept = json.loads(monitoring_tables.KEPT.read_text("utf-8"))
    shown = set()
    for place in monitoring_tables.PAGES:
        page = place.read_text("utf-8")
        shown |= set(re.findall(r"<!-- measured: (\S+) -->", page))
        assert monitoring_tables.fill(page, kept) == page, place.name
    assert shown == set(monitoring_tables.TABLES)


def test_what_the_page_says_of_false_alarms():
    """Every kind of window but the long ones of whole flight days keeps to the 1 % asked for."""
    parts = json.loads(monitoring_tables.KEPT.read_text("utf-8"))["quality"]["parts"]
    assert len(parts) == 12
    for part in parts:
        unchanged = next(r for r in part["ours"] if r["name"] == monitoring_tables.UNCHANGED)
        assert unchanged["windows"] == 1000
        assert unchanged["low"] <= 0.01, part["data"]


def test_defaults_that_the_pages_state():
    text = (DOCS / "thresholds.md").read_text("utf-8")
    options = ThresholdOptions()
    assert f"`min_blocks` ({options.min_blocks})" in text
    assert f"`min_importance` ({100 * options.min_importance:g} %)" in text
    assert f"`floors` (PSI {options.floors.psi}, KS {options.floors.ks}" in text
    alerts, page = AlertOptions(), (DOCS / "alerts.md").read_text("utf-8")
    assert f"`resolve_after` windows (default {alerts.resolve_after})" in page
    assert f"`remind_hours` ({alerts.remind_hours:g})" in page
    assert f"`escalate_hours` ({alerts.escalate_hours:g})" in page
    assert f"`group_from` ({alerts.group_from})" in page


def test_every_channel_and_key_is_described():
    page = (DOCS / "alerts.md").read_text("utf-8")
    union = Channel.__origin__  # type: ignore[attr-defined]
    for kind in union.__args__:
        name = kind.model_fields["type"].default
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` "))
        own = set(kind.model_fields) - {"type", "name", "severity", "attempts"}
        for key in own - {"backoff_seconds", "timeout_seconds"}:
            assert f"`{key}`" in row, (name, key)


def test_every_severity_is_in_the_table():
    page = (DOCS / "alerts.md").read_text("utf-8")
    for kind, severity in rules.SEVERITIES.items():
        assert re.search(rf"^\| `{kind}` \| {severity} \|", page, re.MULTILINE), kind
