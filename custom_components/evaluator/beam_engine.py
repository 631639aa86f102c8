"""TFMA on Apache Beam, with predictions in batch: the reference, and what scales out."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterable

import apache_beam as beam
import tensorflow_model_analysis as tfma
from apache_beam.metrics.metric import Metrics, MetricsFilter
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer
from tfx import types

from custom_components.evaluator import scoring

_NAMESPACE = "flywheel.evaluator"
_PREDICT_STAGE = "ExtractLabelsAndPredictions"


class _ScoreDoFn(beam.DoFn):
    """Record batches in, TFMA's extracts with labels and predictions out."""

    def __init__(self, task: scoring.Task):
        self._task = task
        self._scorer: scoring.Scorer | None = None

    def setup(self) -> None:
        self._scorer = scoring.Scorer(self._task)

    def process(self, extracts: tfma.Extracts) -> Iterable[tfma.Extracts]:
        scored = self._scorer(extracts[tfma.ARROW_RECORD_BATCH_KEY])
        for name, count in scored.counts.items():
            Metrics.counter(_NAMESPACE, name).inc(count)
        rows = len(scored.labels)
        if rows:
            # Only what is sliced by goes on.
            yield {
                tfma.ARROW_RECORD_BATCH_KEY: scored.columns,
                tfma.LABELS_KEY: scored.labels,
                tfma.PREDICTIONS_KEY: scored.predictions,
            }


def extractors(task: scoring.Task, config: tfma.EvalConfig) -> list[tfma.extractors.Extractor]:
    """TFMA's default extractors, with labels and predictions from `scoring`."""
    return [
        tfma.extractors.Extractor(
            stage_name=_PREDICT_STAGE, ptransform=beam.ParDo(_ScoreDoFn(task))
        ),
        tfma.extractors.FeaturesExtractor(config),
        tfma.extractors.UnbatchExtractor(),
        tfma.extractors.SliceKeyExtractor(eval_config=config, materialize=False),
    ]


def evaluate(
    config: tfma.EvalConfig,
    task: scoring.Task,
    examples: list[types.Artifact],
    split: str,
    output: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> collections.Counter[str]:
    """Measures all models on the split and writes TFMA's metrics and plots.

    Args:
      config: What to compute.
      task: The models.
      examples: Examples artifacts.
      split: Name of the split.
      output: Folder of the evaluation artifact.
      make_pipeline: The executor's own.

    Returns:
      Rows left out, as `Scored.counts`.
    """
    sources = scoring.split_tfxio(examples, split)
    writer = metrics_plots_and_validations_writer.MetricsPlotsAndValidationsWriter(
        output_paths={
            name: os.path.join(output, name)
            for name in (tfma.METRICS_KEY, tfma.PLOTS_KEY, tfma.ATTRIBUTIONS_KEY)
        },
        eval_config=config,
    )
    pipeline = make_pipeline()
    with pipeline:
        batches = [
            pipeline | f"Read[{index}]" >> source.BeamSource(batch_size=scoring.BATCH_ROWS)
            for index, source in enumerate(sources)
        ]
        _ = (
            batches
            | "Flatten" >> beam.Flatten()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=config, extractors=extractors(task, config), writers=[writer]
            )
        )
    counters = pipeline.result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
    return collections.Counter(
        {counter.key.metric.name: counter.committed for counter in counters["counters"]}
    )
