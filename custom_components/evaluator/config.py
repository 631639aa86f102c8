"""What TFMA is asked to compute: its EvalConfig, made from a model's contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma

from custom_components.evaluator.verdict import CHAMPION, SHIPPED
from models.spec import ModelSpec

#: AUC over all rows keeps TFMA's own resolution. Per class it is computed as often as there are
#: classes, so it is coarser; the plots are drawn, not compared.
CLASS_AUC_THRESHOLDS = 1000
ROC_THRESHOLDS = 200
CALIBRATION_BUCKETS = 100
#: Regression: the calibration plot spans this many standard deviations around the train mean.
CALIBRATION_SPAN = 4.0

_OURS = "custom_components.evaluator.metrics"


def eval_config(
    spec: ModelSpec,
    models: Sequence[str],
    slices: Sequence[Sequence[str]],
    thresholds: dict[str, list[dict[str, Any]]] | None = None,
) -> tfma.EvalConfig:
    """TFMA's config for the models on the same rows.

    Args:
      spec: The shipped model's contract.
      models: Names of the models; `champion` is the baseline.
      slices: Columns of each slicing; the overall slice is added.
      thresholds: Metric name to thresholds of the shipped model: dicts of `slice` (column
        to value, empty: overall) and either `value_threshold` or `change_threshold`, as
        TFMA's protos.
    """
    config = tfma.EvalConfig()
    for name in models:
        config.model_specs.add(
            name=name, label_key=spec.label, is_baseline=True if name == CHAMPION else None
        )
    config.slicing_specs.add()
    for columns in slices:
        config.slicing_specs.add(feature_keys=list(columns))
    config.options.include_default_metrics.value = False
    others = [name for name in models if name != SHIPPED]
    for names, limits in (([SHIPPED], thresholds or {}), (others, {})):
        if names:
            _add_metrics(config, spec, names, limits)
    return config


def _add_metrics(
    config: tfma.EvalConfig,
    spec: ModelSpec,
    models: list[str],
    thresholds: dict[str, list[dict[str, Any]]],
) -> None:
    metrics = config.metrics_specs.add(model_names=models)
    if spec.task == "binary":
        _add(metrics, thresholds, "AUC", name="auc")
        _add(metrics, thresholds, "AUC", name="pr_auc", curve="PR")
        _add(metrics, thresholds, "BinaryAccuracy", name="accuracy")
        _add(metrics, thresholds, "Precision", name="precision")
        _add(metrics, thresholds, "Recall", name="recall")
        # Keras's cross-entropies: TFMA's own ones answer NaN where a probability is exactly 0 or
        # 1, which quantized models give, and do not know sparse labels.
        _add(metrics, thresholds, "BinaryCrossentropy", name="log_loss")
        _add(metrics, thresholds, "Calibration", name="calibration")
        _add(metrics, thresholds, "MeanLabel", name="mean_label")
        _add(metrics, thresholds, "MeanPrediction", name="mean_prediction")
        _add(metrics, {}, "ConfusionMatrixAtThresholds", name="confusion_matrix", thresholds=[0.5])
        _add(metrics, {}, "ConfusionMatrixPlot", num_thresholds=ROC_THRESHOLDS)
        _add(metrics, {}, "CalibrationPlot", num_buckets=CALIBRATION_BUCKETS)
    elif spec.task == "multiclass":
        _add(metrics, thresholds, "SparseCategoricalAccuracy", name="accuracy")
        _add(metrics, thresholds, "SparseCategoricalCrossentropy", name="log_loss")
        _add(metrics, {}, "MultiClassConfusionMatrixPlot")
        macro = config.metrics_specs.add(model_names=models)
        macro.aggregate.macro_average = True
        for index in range(len(spec.classes)):
            macro.aggregate.class_weights[index] = 1.0
        _add(macro, thresholds, "AUC", name="auc", num_thresholds=CLASS_AUC_THRESHOLDS)
    else:
        _add(metrics, thresholds, "MeanAbsoluteError", name="mae")
        _add(metrics, thresholds, "RootMeanSquaredError", _OURS, name="rmse")
        _add(metrics, thresholds, "RSquared", _OURS, name="r2")
        _add(metrics, thresholds, "MeanLabel", name="mean_label")
        _add(metrics, thresholds, "MeanPrediction", name="mean_prediction")
        span = CALIBRATION_SPAN * spec.target_std
        _add(
            metrics,
            {},
            "CalibrationPlot",
            num_buckets=CALIBRATION_BUCKETS,
            left=spec.target_mean - span,
            right=spec.target_mean + span,
        )
    _add(metrics, thresholds, "ExampleCount", name="example_count")


def _add(
    metrics: tfma.MetricsSpec,
    limits: dict[str, list[dict[str, Any]]],
    class_name: str,
    module: str = "",
    /,
    **settings: Any,
) -> None:
    metric = metrics.metrics.add(
        class_name=class_name, module=module, config=json.dumps(settings, sort_keys=True)
    )
    for threshold in limits.get(settings.get("name", ""), ()):
        limit = {key: value for key, value in threshold.items() if key != "slice"}
        if not threshold["slice"]:
            # A threshold without slicing specs would apply to every slice.
            metric.per_slice_thresholds.add(slicing_specs=[tfma.SlicingSpec()], threshold=limit)
            continue
        values = {column: str(value) for column, value in threshold["slice"].items()}
        metric.per_slice_thresholds.add(
            slicing_specs=[tfma.SlicingSpec(feature_values=values)], threshold=limit
        )
