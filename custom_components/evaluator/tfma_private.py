"""Every private name of TFMA that the local engine stands on, in one place.

They were written against TFMA 0.47 and are there in 0.52. Where one is gone,
`MISSING` says which, and the Evaluator runs on Beam instead.
"""

from __future__ import annotations

import importlib
from typing import Any

MISSING = ""


def _name(module: str, name: str) -> Any:
    """The object, or a class of which nothing is an instance."""
    global MISSING
    try:
        return getattr(importlib.import_module(f"tensorflow_model_analysis.{module}"), name)
    except (ImportError, AttributeError):
        MISSING = MISSING or f"this TFMA has no {module}.{name}"
        return type("Missing", (), {})


# The plan.
to_computations = _name("metrics.metric_specs", "to_computations")
separate_computations = _name(
    "evaluators.metrics_plots_and_validations_evaluator", "_filter_and_separate_computations"
)
remove_private_metrics = _name(
    "evaluators.metrics_plots_and_validations_evaluator", "_remove_private_metrics"
)
is_metric_diffable = _name(
    "evaluators.metrics_plots_and_validations_evaluator", "_is_metric_diffable"
)
MetricKey = _name("metrics.metric_types", "MetricKey")
PlotKey = _name("metrics.metric_types", "PlotKey")
StandardMetricInputsPreprocessor = _name("metrics.metric_types", "StandardMetricInputsPreprocessor")
to_label_prediction_example_weight = _name(
    "metrics.metric_util", "to_label_prediction_example_weight"
)

# The base combiners that have an accumulator of ours, and what they answer.
ExampleCountCombiner = _name("metrics.example_count", "_ExampleCountCombiner")
LabelsPredictionsCombiner = _name(
    "metrics.calibration", "_WeightedLabelsPredictionsExamplesCombiner"
)
LabelsPredictions = _name("metrics.calibration", "_WeightedLabelsPredictionsExamples")
AbsoluteErrorCombiner = _name("metrics.mean_regression_error", "_MeanAbsoluteErrorCombiner")
SquaredErrorCombiner = _name("metrics.mean_regression_error", "_MeanSquaredErrorCombiner")
KerasCombiner = _name("metrics.tf_metric_wrapper", "_CompilableMetricsCombiner")
HistogramCombiner = _name("metrics.calibration_histogram", "_CalibrationHistogramCombiner")
Bucket = _name("metrics.calibration_histogram", "Bucket")
BinaryMatrixCombiner = _name("metrics.binary_confusion_matrices", "_BinaryConfusionMatrixCombiner")
BinaryMatrix = _name("contrib.aggregates.binary_confusion_matrices", "Matrix")
BinaryMatrixEntry = _name("contrib.aggregates.binary_confusion_matrices", "_ThresholdEntry")
MultiClassMatrixCombiner = _name(
    "metrics.multi_class_confusion_matrix_metrics", "_MultiClassConfusionMatrixCombiner"
)
MultiClassMatrices = _name("metrics.multi_class_confusion_matrix_metrics", "Matrices")
MultiClassMatrixKey = _name("metrics.multi_class_confusion_matrix_metrics", "MatrixEntryKey")

# Slicing and files.
slices_of_features = _name("slicer.slicer_lib", "get_slices_for_features_dicts")
metrics_to_proto = _name(
    "writers.metrics_plots_and_validations_writer", "convert_slice_metrics_to_proto"
)
plots_to_proto = _name(
    "writers.metrics_plots_and_validations_writer", "convert_slice_plots_to_proto"
)
