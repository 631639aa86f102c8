"""What each component of a small run leaves: statistics, verdicts, curves, variants.

Written with the same classes that the components write with wherever these are light, so
that a change of their shape is seen by the report's tests.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from custom_components.evaluator import verdict as evaluation
from custom_components.schema_validator import verdict as validation
from custom_components.tflite_quantizer import picks
from custom_components.tflite_quantizer.variant import Variant
from models.errors import Reason
from monitoring import drift, summaries

QUALITY = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}
CHAMPION = "aa11bb22cc33"
ROWS = {"train": 7001, "eval": 1500, "test": 1501}


@dataclasses.dataclass(frozen=True)
class Names:
    """Every name that comes from outside: columns, values, paths."""

    label: str = "big_tipper"
    numeric: str = "fare"
    categorical: str = "payment_type"
    ignored: str = "tips"
    values: tuple[str, ...] = ("Cash", "Credit Card", "Unknown")
    classes: tuple[str, ...] = ("0", "1")
    data: str = "/data/taxi.csv"
    version: str = "0f3c9a2b7d51"
    message: str = "`fare` is not what it was."


HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</title></style></script><svg onload=window.pwned=1>",
    "{{ 7 * 7 }}{% raw %}`'\"&amp;",
    "\u202egnp.exe \x00\x07\x1b[31m",
)


def hostile_names() -> Names:
    """Names that try to become markup, script or template."""
    first, second, third, fourth, fifth = HOSTILE
    return Names(
        label=first,
        numeric=second,
        categorical=third,
        ignored=fourth + "x" * 5000,
        values=(first, second, third, fourth, fifth.replace("\x00", "")),
        classes=(second, third, fourth),
        data=third,
        version=second,
        message=f"{first} ` {second} {third} {fourth} {fifth}",
    )


def config(task: str, names: Names, more: list[str]) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "chicago-taxi",
        "data": {
            "path": names.data,
            "derive": {names.label: "tips > 0.2 * fare"},
            "split": {"by": "time", "column": "trip_start_timestamp"},
        },
        "task": {"label": names.label, "type": task},
        "features": {
            names.numeric: "numeric",
            names.categorical: "categorical",
            names.ignored: "ignore",
            **dict.fromkeys(more, "numeric"),
        },
    }


def validation_verdict(names: Names, champion: bool, blocked: bool) -> validation.Verdict:
    reasons = []
    if blocked:
        reasons.append(
            Reason(
                "COLUMN_MISSING",
                f"The column `{names.numeric}` is not in the data. {names.message}",
                (
                    {
                        "feature": names.numeric,
                        "expected": "a real number",
                        "found": "no such column",
                    },
                ),
                f"Bring `{names.numeric}` back, or set `features: {{{names.numeric}: ignore}}` in "
                "flywheel.yaml.",
                "block",
            )
        )
    reasons.append(
        Reason(
            "SPLIT_MISMATCH",
            f"Column `{names.categorical}` differs between the splits.",
            tuple(
                {"split": "eval", "feature": names.categorical, "psi": 0.25 + i, "rows now": 1500}
                for i in range(8)
            ),
            "Look at `data: {split: ...}` in flywheel.yaml.",
            "warn",
        )
    )
    entries: tuple[dict[str, Any], ...] = ()
    if champion:
        rng = np.random.default_rng(0)
        before = rng.gamma(2.0, 6.0, 5000)
        edges = summaries.edges_from_values(before)
        found = [
            drift.compare(
                names.numeric,
                summaries.bin_values(before, edges),
                summaries.bin_values(before * 1.6, edges),
            ),
            drift.compare(
                names.categorical,
                summaries.Categories({v: 1000.0 for v in names.values}, 10),
                summaries.Categories({v: 1000.0 + i for i, v in enumerate(names.values)}, 12),
            ),
        ]
        entries = tuple(entry.to_dict() for entry in found)
    else:
        reasons.append(
            Reason(
                "NO_BASELINE",
                "No model is deployed yet: there is nothing to measure drift against.",
                next="The first version that is pushed becomes the baseline.",
            )
        )
    return validation.Verdict(
        state=validation.state_of(tuple(reasons)),
        baseline=CHAMPION if champion else None,
        reasons=tuple(reasons),
        drift=entries,
        rows={"read": sum(ROWS.values()), **ROWS},
    )


def metrics_of(task: str, quality: float) -> dict[str, float]:
    if task == "binary":
        return {
            "auc": quality,
            "pr_auc": quality - 0.2,
            "accuracy": quality - 0.06,
            "log_loss": 1.2 - quality,
            "calibration_error": 0.0123,
        }
    if task == "multiclass":
        return {
            "accuracy": quality,
            "log_loss": 1.1 - quality,
            "calibration_error": 0.0212,
            "auc": 0.99,
        }
    return {"mae": 43.217, "rmse": 53.4821, "r2": quality}


def curves(name: str, low: float, epochs: int = 9) -> dict[str, Any]:
    losses = [low + 0.1 / (epoch + 1) + 0.001 * max(epoch - 5, 0) for epoch in range(epochs)]
    return {
        "name": name,
        "train_loss": [loss - 0.03 for loss in losses],
        "eval_loss": losses,
        "best_epoch": int(np.argmin(losses)) + 1,
        "batch_size": 128,
        "steps": 55,
    }


def training(task: str, names: Names) -> dict[str, Any]:
    return {
        "parameters": 17689,
        "metrics": metrics_of(task, 0.9455),
        "curves": curves("teacher", 0.22),
        "rows": {"train": ROWS["train"], "eval": ROWS["eval"]},
        "features": {
            "numeric": [names.numeric],
            "categorical": {names.categorical: 3},
            "unused": [names.ignored],
        },
    }


def distillation(task: str) -> dict[str, Any]:
    flips = {} if task == "regression" else {"flip_rate": 0.0164}

    def network(name: str, low: float, quality: float) -> dict[str, Any]:
        return {
            "parameters": 1181,
            "metrics": metrics_of(task, quality),
            "curves": curves(name, low),
            "agreement": {"largest_difference": 0.2395, **flips},
        }

    return {
        "chosen": "distilled",
        "verdict": "Distillation helps here, by +0.0046.",
        "gate": {"teacher_eval_loss": 0.23, "control_eval_loss": 0.2436},
        "teacher": {"parameters": 17689, "metrics": metrics_of(task, 0.9455)},
        "networks": {
            "distilled": network("student", 0.221, 0.9451),
            "control": network("control on labels", 0.231, 0.9405),
            "control_dropout": network("control with dropout", 0.229, 0.9429),
        },
        "options": {"temperature": 1.0, "alpha": 0.0},
        "rows": {"train": ROWS["train"], "eval": ROWS["eval"], "extra": 0},
    }


def variants(task: str) -> dict[str, Any]:
    """One of every state: shipped, eligible, rejected (far below), skipped."""

    def variant(name: str, size: int, quality: float, p50: float) -> Variant:
        return Variant(
            name,
            name,
            size,
            size // 2,
            metrics_of(task, quality),
            {"largest_difference": 0.03, "flip_rate": 0.0031},
            quality={
                "overall": lost(0.9451 - quality, ROWS["eval"]),
                "slices": [
                    {"feature": "where", "value": "there", **lost(0.9461 - quality, 500)},
                ],
            },
            latency_us={"p50": p50, "p90": p50 * 1.2},
            latency_ratio={} if name == "float32" else {"point": p50 / 39.4},
            rows_per_s=2_021_510.13,
            verdict="reference" if name == "float32" else "smaller, as fast",
        )

    def lost(drop: float, rows: int) -> dict:
        half = 0.001 if drop else 0.0
        interval = {"low": drop - half, "high": drop + half}
        return {"metric": QUALITY[task], "rows": rows, "drop": drop, **interval}

    made = picks.decide(
        [
            variant("float32", 17892, 0.9451, 39.4),
            variant("int8_ptq", 16672, 0.81, 37.2),
            variant("int8_qat", 15200, 0.9446, 38.6),
            Variant("pruned", "pruned", state="skipped", reason="The converter ended by SIGABRT."),
        ],
        picks.Limits(max_drop=0.003, max_drop_slice=0.02),
    )
    return {
        "primary_metric": QUALITY[task],
        "max_drop": 0.003,
        "limits": {"max_drop": 0.003, "max_drop_slice": 0.02},
        "pick": "balanced",
        "layers": [
            {"layer": "hidden_1", "bytes_saved": 1088, "quality": lost(0.0007, 1500), "reason": ""},
            {"layer": "logits", "bytes_saved": None, "quality": {}, "reason": "crashed (SIGABRT)"},
        ],
        "student": {"metrics": metrics_of(task, 0.9451)},
        "teacher": {
            "bytes": 84288,
            "gzip_bytes": 71016,
            "metrics": metrics_of(task, 0.9455),
            "latency_us": {"p50": 61.2, "p90": 70.0},
            "rows_per_s": 1_270_912.9,
        },
        "variants": [v.to_dict() for v in made],
        "timing": {"interpreter": "LiteRT, 1 thread", "runs": 200, "batch": 256},
        "recipes": {"float32": {"name": "float32", "summary": "The student as trained."}},
        "rows": {"train": ROWS["train"], "eval": ROWS["eval"]},
    }


def evaluation_verdict(
    task: str, names: Names, champion: bool, blessed: bool
) -> evaluation.Verdict:
    quality = QUALITY[task]
    models = {
        "shipped": 0.9339 if blessed else 0.8123,
        "teacher": 0.9349,
        "student": 0.9341,
    }
    if champion:
        models["champion"] = 0.9311
    metrics = {m: {**metrics_of(task, q), "example_count": 1501.0} for m, q in models.items()}
    slices = [
        evaluation.SliceResult(
            {names.categorical: value},
            700 - 340 * place,
            place < 2,
            {
                m: {**metrics_of(task, q - 0.1 * place), "example_count": 700.0}
                if place < 2
                else dict.fromkeys(metrics_of(task, q))
                for m, q in models.items()
            },
        )
        for place, value in enumerate(names.values[:3])
    ]
    thresholds = [
        evaluation.Threshold(quality, "bound", {}, 0.55, models["shipped"], True),
        evaluation.Threshold(
            "rmse" if task == "regression" else "log_loss",
            "bound",
            {},
            99.0,
            metrics["shipped"]["rmse" if task == "regression" else "log_loss"],
            True,
        ),
    ]
    for model, limit in (("teacher", -0.01), ("champion", -0.002)):
        if model not in models:
            continue
        for where, reference in [({}, models[model])] + [
            (s.slice, s.metrics[model][quality]) for s in slices[:2]
        ]:
            value = models["shipped"] - models[model]
            least = limit if not where else -0.05
            thresholds.append(
                evaluation.Threshold(quality, model, where, least, value, value >= least, reference)
            )
    reasons = []
    if not blessed:
        reasons.append(
            Reason(
                "WORSE_THAN_TEACHER",
                f"On 1,501 test rows {quality} is 0.8123, 0.1226 below the teacher's 0.9349.",
                ({"metric": quality, "rows": 1501, "shipped": 0.8123, "limit": -0.01},),
                "Give the student more units.",
                "block",
            )
        )
    return evaluation.Verdict(
        blessed=blessed,
        reasons=tuple(reasons),
        task=task,
        label=names.label,
        classes=() if task == "regression" else names.classes,
        quality=quality,
        rows={"evaluated": 1501, "label_missing": 0, "label_unknown": 0},
        metrics=metrics,
        slices=tuple(slices),
        thresholds=tuple(thresholds),
        plots={m: plots(task, names) for m in models},
        engine={"requested": "local", "ran": "local", "why": "as configured"},
    )


def plots(task: str, names: Names) -> dict[str, Any]:
    bins = [
        {
            "low": low / 10,
            "high": low / 10 + 0.1,
            "rows": 150.0,
            "predicted": low / 10 + 0.04,
            "actual": min(low / 10 + 0.06, 1.0),
        }
        for low in range(10)
    ]
    if task == "regression":
        return {"calibration": [{**b, "predicted": 100 + b["predicted"]} for b in bins]}
    if task == "multiclass":
        size = len(names.classes)
        matrix = [[4.0 if i != j else 492.0 for j in range(size)] for i in range(size)]
        return {"confusion": {"classes": list(names.classes), "matrix": matrix}}
    roc = [
        {"fpr": x**3, "tpr": min(1.0, x * 1.2), "precision": 1 - x / 2, "threshold": 1 - x}
        for x in np.linspace(0, 1, 101).tolist()
    ]
    matrix = [[1344.0, 272.0], [21.0, 613.0]]
    return {
        "roc": roc,
        "calibration": bins,
        "confusion": {"classes": list(names.classes), "matrix": matrix, "threshold": 0.5},
    }
