"""TFMA's plan on whole batches in this process: the same files as on Beam, in a tenth of the time.

Everything TFMA does is TFMA's here as well (plan, derived metrics, slicer, protos),
except its per-row part: see `accumulators`.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx import types

from custom_components.evaluator import scoring, tfma_private
from custom_components.evaluator.accumulators import Accumulator, Unsupported, accumulator_for
from custom_components.evaluator.sums import Batch
from models import feeds, progress
from models.errors import DataError

SliceKey = tuple[tuple[str, Any], ...]


class Plan:
    """What TFMA would compute, with accumulators in place of its combiners.

    Raises:
      Unsupported: Something in it has no accumulator.
    """

    def __init__(self, config: tfma.EvalConfig):
        if tfma_private.MISSING:
            raise Unsupported(tfma_private.MISSING)
        if config.cross_slicing_specs:
            raise Unsupported("cross slices")
        if config.options.compute_confidence_intervals.value:
            raise Unsupported("confidence intervals")
        if config.options.min_slice_size.value > 1:
            raise Unsupported("min_slice_size")
        if any(spec.slice_keys_sql for spec in config.slicing_specs):
            raise Unsupported("SQL slices")
        if any(spec.query_key for spec in config.metrics_specs):
            raise Unsupported("query_key")
        if any(spec.HasField("padding_options") for spec in config.model_specs):
            raise Unsupported("padding_options")
        computations = tfma_private.separate_computations(
            tfma_private.to_computations(list(config.metrics_specs), eval_config=config)
        )
        if computations.cross_slice_computations or computations.ci_derived_computations:
            raise Unsupported("cross slice or confidence interval computations")
        self.accumulators: list[Accumulator] = []
        for computation in computations.non_derived_computations:
            for preprocessor in computation.preprocessors:
                if type(preprocessor) is not tfma_private.StandardMetricInputsPreprocessor:
                    raise Unsupported(type(preprocessor).__name__)
            self.accumulators.append(accumulator_for(computation.combiner))
        self._derived = computations.derived_computations
        baselines = [spec.name for spec in config.model_specs if spec.is_baseline]
        self._baseline = baselines[0] if baselines else None

    def add(self, batch: Batch) -> None:
        for accumulator in self.accumulators:
            accumulator.add(batch)

    def results(self, slice_index: int) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Metrics and plots of one slice."""
        values: dict[Any, Any] = {}
        for accumulator in self.accumulators:
            values.update(accumulator.result(slice_index))
        with np.errstate(divide="ignore", invalid="ignore"):  # empty classes; TFMA expects them
            for computation in self._derived:
                values.update(computation.result(values))
        if self._baseline:
            values.update(self._differences(values))
        _, values = tfma_private.remove_private_metrics((), values)
        plots = {key: v for key, v in values.items() if isinstance(key, tfma.metrics.PlotKey)}
        return {key: v for key, v in values.items() if key not in plots}, plots

    def _differences(self, values: dict[Any, Any]) -> dict[Any, Any]:
        """Each metric minus the baseline's, as TFMA adds them."""
        differences = {}
        for key, value in values.items():
            baseline = key.make_baseline_key(self._baseline)
            if (
                not key.name.startswith("_")
                and key.model_name != self._baseline
                and baseline in values
                and tfma_private.is_metric_diffable(value)
            ):
                differences[key.make_diff_key()] = value - values[baseline]
        return differences


class Slicer:
    """Which slices each row is in; TFMA's slicer is asked once per distinct combination."""

    def __init__(self, config: tfma.EvalConfig):
        if any(spec.feature_values for spec in config.slicing_specs):
            raise Unsupported("slices of given values")
        self._columns = [tuple(sorted(spec.feature_keys)) for spec in config.slicing_specs]
        self._specs = [tfma.slicer.SingleSliceSpec(columns) for columns in self._columns]
        self._known: dict[tuple[Any, ...], int] = {}
        self._index: dict[SliceKey, int] = {}

    @property
    def keys(self) -> list[SliceKey]:
        """All slices seen so far, in the order of their numbers."""
        return list(self._index)

    def __call__(self, columns: pa.RecordBatch, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers and slice numbers, equally long."""
        all_rows, all_slices = [], []
        for names, spec in zip(self._columns, self._specs, strict=True):
            codes, values = _combinations(columns, names, rows)
            inside = np.flatnonzero(codes >= 0)
            combinations, inverse = np.unique(codes[inside], return_inverse=True)
            slices = [self._slice_of(spec, names, values(code)) for code in combinations]
            all_rows.append(inside)
            all_slices.append(np.asarray(slices, np.int64)[inverse])
        return np.concatenate(all_rows), np.concatenate(all_slices)

    def _slice_of(self, spec: Any, names: tuple[str, ...], values: list[np.ndarray]) -> int:
        """The number of the slice that rows with these values (one-element arrays) are in."""
        known = (names, *(_NAN if v != v else v for v in (value[0] for value in values)))
        if known not in self._known:
            features = dict(zip(names, values, strict=True))
            (key,) = tfma_private.slices_of_features([], features, [spec])
            self._known[known] = self._index.setdefault(key, len(self._index))
        return self._known[known]


_NAN = float("nan")  # one object, so that all of them are the same key


def _combinations(
    columns: pa.RecordBatch, names: tuple[str, ...], rows: int
) -> tuple[np.ndarray, Callable[[int], list[np.ndarray]]]:
    """Codes of the rows' combinations of values, -1 where one is missing, and their meaning.

    Raises:
      Unsupported: A cell holds several values.
    """
    codes, dictionaries = np.zeros(rows, np.int64), []
    for name in names:
        try:
            encoded = feeds.flat_column(columns, name).dictionary_encode()
        except DataError as error:
            raise Unsupported(f"column `{name}` with several values in a row") from error
        indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        dictionary = encoded.dictionary.to_numpy(zero_copy_only=False)
        dictionaries.append(dictionary)
        missing = (codes < 0) | (indices < 0)
        codes = np.where(missing, -1, codes * len(dictionary) + indices)

    def values(code: int) -> list[np.ndarray]:
        found = []
        for dictionary in reversed(dictionaries):
            code, position = divmod(int(code), len(dictionary))
            found.append(dictionary[position : position + 1])
        return found[::-1]

    return codes, values


def batches(
    slicer: Slicer,
    task: scoring.Task,
    examples: list[types.Artifact],
    split: str,
    counts: collections.Counter[str],
) -> Iterator[Batch]:
    """The labelled rows of the split with all predictions and their slices.

    Args:
      slicer: Numbers the slices.
      task: The models.
      examples: Examples artifacts.
      split: Name of the split.
      counts: Is added to: rows left out, as `Scored.counts`.
    """
    scorer = scoring.Scorer(task)
    for record_batch in scoring.read(examples, split):
        scored = scorer(record_batch)
        counts.update(scored.counts)
        if len(scored.labels):
            rows, slices = slicer(scored.columns, len(scored.labels))
            yield Batch(scored.labels, scored.predictions, rows, slices, len(slicer.keys))


def evaluate(
    config: tfma.EvalConfig,
    task: scoring.Task,
    examples: list[types.Artifact],
    split: str,
    output: str,
) -> collections.Counter[str]:
    """Measures all models on the split and writes TFMA's metrics and plots.

    Args:
      config: What to compute.
      task: The models.
      examples: Examples artifacts.
      split: Name of the split.
      output: Folder of the evaluation artifact.

    Returns:
      Rows left out, as `Scored.counts`.

    Raises:
      Unsupported: Beam must do it; nothing was written.
    """
    plan, slicer = Plan(config), Slicer(config)
    counts: collections.Counter[str] = collections.Counter()
    done = 0
    for batch in batches(slicer, task, examples, split, counts):
        plan.add(batch)
        done += len(batch.labels)
        progress.doing(f"evaluated {done:,} rows of {split} with {len(task.models)} models")
    progress.doing(f"computing metrics of {len(slicer.keys):,} slices")
    with _paused_garbage_collection():
        results = [(key, *plan.results(index)) for index, key in enumerate(slicer.keys)]
        write(results, output)
    return counts


@contextlib.contextmanager
def _paused_garbage_collection() -> Iterator[None]:
    """TFMA makes tens of thousands of small objects per AUC: a third of the time went here."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def write(results: Iterable[tuple[SliceKey, dict[Any, Any], dict[Any, Any]]], output: str) -> None:
    """Writes the files that TFMA's own writer would: one proto per slice."""
    results = sorted(results, key=lambda result: [(c, str(v)) for c, v in result[0]])
    _write_records(
        output, "metrics", (tfma_private.metrics_to_proto((k, m), None) for k, m, _ in results)
    )
    _write_records(
        output, "plots", (tfma_private.plots_to_proto((k, p), None) for k, _, p in results)
    )
    _write_records(output, "attributions", ())


def _write_records(output: str, name: str, protos: Iterable[Any]) -> None:
    path = os.path.join(output, f"{name}-00000-of-00001.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for proto in protos:
            writer.write(proto.SerializeToString())
