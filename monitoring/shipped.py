"""The file that serves: does it still answer as it should, and who is it?

shadow_difference  Largest difference between the logged score and what the deployed file
      answers here for the same rows: another runtime, another delegate, or another file.
float_difference, float_flip_rate  The same against the float student it was quantized from
      (`monitoring.shipped.float_model`, or `float.tflite` in the version's folder). A version
      that carries none is not compared, and the facts say so.
saturation_rate    Share of int8 activations at the end of their range on the window's rows
      (`models/saturation.py`); none for files without int8 activations.
model_age_days     Since the version was pushed.
version_share      Of the deployed version among the window's rows.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from models import metrics
from models.predictor import Predictor, TFLiteRunner, by_tensor
from models.registry import MODEL_FILE
from models.spec import ModelSpec
from monitoring.log_rows import FEATURE, tabular
from monitoring.measure import WINDOW, Measure
from monitoring.performance import scores_of

FLOAT_FILE = "float.tflite"


def float_student(spec: ModelSpec, version: pathlib.Path, named: str | None) -> Predictor | None:
    """The float student to compare with; None where there is none."""
    if named is not None:
        return Predictor.load(named)
    path = version / FLOAT_FILE
    return Predictor(spec, TFLiteRunner(path)) if path.is_file() else None


def features_of(spec: ModelSpec, table: pa.Table) -> pa.Table:
    """Logged rows as the columns that a predictor takes."""
    names = [f.name for f in tabular(spec) if FEATURE + f.name in table.column_names]
    return pa.table({name: table.column(FEATURE + name) for name in names})


def measure(
    spec: ModelSpec,
    version: pathlib.Path,
    rows: pa.Table,
    *,
    student: Predictor | None = None,
    window_id: str = "",
) -> list[Measure]:
    """Shadow comparison and saturation on some rows of the window, in the log's format."""
    n = len(rows)
    if spec.image is not None or not n:
        return []

    def made(statistic: str, value: float, words: str) -> Measure:
        return Measure(
            WINDOW, statistic, float(value), n, 0, window_id=window_id, words=words,
            family="shipped",
        )  # fmt: skip

    inputs = features_of(spec, rows)
    predictor = Predictor.load(version)
    here = predictor.predict(inputs)
    logged = scores_of(spec, rows)
    answered = np.isfinite(logged).all(axis=1)
    found = []
    if answered.any():
        worst = float(np.max(np.abs(here[answered] - logged[answered])))
        words = f"the file answers here as it did when it served, to {worst:.2g}"
        found.append(made("shadow_difference", worst, words))
    if student is not None:
        apart = metrics.agreement(spec.task, student.predict(inputs), here)
        worst = apart["largest_difference"]
        words = f"up to {worst:.3g} from the float student"
        found.append(made("float_difference", worst, words))
        if "flip_rate" in apart:
            words = f"{apart['flip_rate']:.2%} of the labels differ from the float student's"
            found.append(made("float_flip_rate", apart["flip_rate"], words))
    found += _saturation(spec, version, inputs, made)
    return found


def facts(
    versions: Mapping[str, int],
    deployed: str | None,
    created: str | None,
    at: datetime.datetime,
    window_id: str = "",
) -> list[Measure]:
    """Version mix and age.

    Args:
      versions: Rows of the window by version.
      deployed: The registry's current version.
      created: When the window's main version was pushed, ISO 8601.
      at: The window's end.
      window_id: Of the window.
    """
    n = sum(versions.values())
    found = []
    if n and deployed is not None:
        share = versions.get(deployed, 0) / n
        mix = ", ".join(f"{name} {rows / n:.0%}" for name, rows in sorted(versions.items()))
        found.append(
            Measure(
                WINDOW, "version_share", share, n, 0, window_id=window_id,
                words=f"answered by {mix}; deployed is {deployed}", family="shipped",
            )
        )  # fmt: skip
    if created:
        moment = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        days = (at - moment).total_seconds() / 86_400
        if days >= 0:  # a log older than the model is a replay
            found.append(
                Measure(
                    WINDOW, "model_age_days", days, n, 0, window_id=window_id,
                    words=f"the model is {days:.0f} days old", family="shipped",
                )
            )  # fmt: skip
    return found


def _saturation(spec: ModelSpec, version: pathlib.Path, inputs: pa.Table, made) -> list[Measure]:
    from models import feeds
    from models.saturation import saturation

    fed = by_tensor(spec, feeds.encode(spec, inputs.slice(0, 256)))
    found = saturation(version / MODEL_FILE, [fed])
    if found.rate is None:
        return []
    words = f"{found.rate:.2%} of int8 activations at the end of their range"
    return [made("saturation_rate", found.rate, words)]
