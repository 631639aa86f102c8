"""TFDV's view of a window: the real library, in its process, by the schema it inferred itself."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest

from models.errors import FlywheelError
from monitoring.log_rows import FEATURE
from monitoring.reference import STATISTICS
from pipeline.tfdv_check import SCHEMA, Check
from tests.monitoring.log_files import SPEC


def columns(n: int, companies: list[str]) -> dict[str, pa.Array]:
    rng = np.random.default_rng(n)
    return {
        "fare": pa.array(rng.lognormal(2.0, 0.6, n)),
        "area": pa.array(rng.integers(1, 4, n)),
        "company": pa.array(rng.choice(companies, n)),
    }


def logged(n: int, companies: list[str]) -> pa.Table:
    return pa.table({FEATURE + name: x for name, x in columns(n, companies).items()})


def test_without_a_schema_it_says_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FlywheelError) as error:
        Check(0.1)("w", tmp_path, SPEC, logged(10, ["a"]))
    assert error.value.reason.code == "NO_SCHEMA"


@pytest.mark.slow
def test_anomalies_and_linf(tmp_path: pathlib.Path) -> None:
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl, stats_options

    lists = {
        name: pa.array([[value] for value in column.to_pylist()])
        for name, column in columns(3000, ["a", "b"]).items()
    }
    batch = pa.RecordBatch.from_arrays(list(lists.values()), list(lists))
    found = stats_impl.generate_statistics_in_memory(batch, stats_options.StatsOptions())
    (tmp_path / STATISTICS).parent.mkdir(parents=True)
    (tmp_path / STATISTICS).write_bytes(found.SerializeToString())
    tfdv.write_schema_text(tfdv.infer_schema(found), str(tmp_path / SCHEMA))

    check = Check(0.1)
    try:
        (calm,) = check("calm", tmp_path, SPEC, logged(800, ["a", "b"]))
        assert (calm.statistic, calm.value) == ("schema_anomalies", 0.0)
        measures = check("new", tmp_path, SPEC, logged(800, ["a", "b", "c", "c"]))
    finally:
        check.close()
    by_name = {m.statistic: m for m in measures}
    assert {m.feature for m in measures} == {"company"}
    assert "c" in by_name["schema_anomalies"].words and by_name["schema_anomalies"].value == 1.0
    assert by_name["tfdv_linf"].value == pytest.approx(0.5, abs=0.06)
