"""Small logs to test on."""

from __future__ import annotations

import datetime
import pathlib

import numpy as np

from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from monitoring import log_rows, prediction_log, reference
from monitoring.measure import PREDICTION
from monitoring.window_summary import Layout

UTC = datetime.timezone.utc
DAY = datetime.datetime(2026, 3, 2, tzinfo=UTC)
SPEC = ModelSpec(
    "binary",
    "tips",
    ("no", "yes"),
    (NumericFeature("fare", 1.0, 0.0, 9.0, 1.0, 1.0),),
    (
        CategoricalFeature("area", "integer", ("1", "2", "3"), "integer"),
        CategoricalFeature("company", "string", ("a", "b")),
    ),
)


def features(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Rows of the reference's distribution."""
    company = rng.choice(np.array(["a", "b", None], object), n, p=[0.6, 0.3, 0.1])
    return {
        "fare": rng.lognormal(2.0, 0.6, n),
        "area": rng.integers(1, 4, n),
        "company": company,
        "tips": rng.choice(["no", "yes"], n),
    }


def made_reference(n: int = 5000) -> reference.Reference:
    """A reference with predictions, without a model: the score is a function of the fare."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    table = pa.table({k: pa.array(v) for k, v in features(rng, n).items()})

    class Score:
        def predict(self, batch):
            return score(batch.column("fare").to_numpy(zero_copy_only=False))

    return reference.from_rows(SPEC, lambda: table.to_batches(), Score(), source="made")


def score(fare: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-(np.asarray(fare) - 8) / 4))).astype(np.float32).reshape(-1, 1)


def write(
    folder: pathlib.Path,
    n: int,
    *,
    start: datetime.datetime = DAY,
    hours: float = 24.0,
    seed: int = 1,
    version: str = "v1",
    name: str | None = None,
    **changed: np.ndarray,
) -> list[str]:
    """Adds n rows spread over the hours; returns their ids."""
    rng = np.random.default_rng(seed)
    columns = {**features(rng, n), **changed}
    offset = (np.arange(n) * (hours * 3.6e9 / max(n, 1))).astype("timedelta64[us]")
    name = name or f"w{seed}"
    ids = [f"{name}-{i}" for i in range(n)]
    table = log_rows.rows(
        SPEC,
        version,
        columns,
        score(columns["fare"]),
        request_ids=ids,
        times=np.datetime64(start.replace(tzinfo=None), "us") + offset,
        latency_us=rng.integers(100, 200, n),
    )
    prediction_log.write_rows(folder, table, name)
    return ids


def layout() -> Layout:
    made = made_reference().layout
    assert PREDICTION in made.cells
    return made
