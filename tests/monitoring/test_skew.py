"""Skew per example."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from monitoring import log_rows, skew
from tests.monitoring.log_files import DAY, SPEC, features


def test_rows_that_differ_are_named() -> None:
    columns = features(np.random.default_rng(0), 200)
    ids = [f"r{i}" for i in range(200)]
    served = {k: v.copy() for k, v in columns.items()}
    served["fare"][:10] *= 1.1
    served["company"][20:25] = "z"
    log = log_rows.rows(SPEC, "v", served, None, request_ids=ids[:150] + ["x"] * 50, times=DAY)
    found = skew.compare(
        SPEC, pa.table({k: pa.array(v) for k, v in columns.items()}), pa.array(ids), [log, log]
    )
    rates = {m.feature: m.value for m in found.measures}
    assert found.joined == 150  # an id that comes twice counts once, an unknown one not at all
    assert rates == {"fare": 10 / 150, "area": 0.0, "company": 5 / 150}
    assert {case["id"] for case in found.cases if case["feature"] == "company"} == {
        f"r{i}" for i in range(20, 25)
    }
    assert "6.67% of 150 joined rows differ" in found.measures[0].words


def test_nothing_served() -> None:
    assert skew.compare(SPEC, pa.table({"fare": [1.0]}), pa.array(["a"]), []).joined == 0
