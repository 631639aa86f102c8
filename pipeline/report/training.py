"""Learning curves, and what distillation was worth."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report import charts, words
from pipeline.report.inputs import Inputs

#: Name in `distillation.json` to (name for people, colour, shape).
NETWORKS = {
    "distilled": ("distilled student", "shipped", "circle"),
    "control": ("control: labels only", "control", "square"),
    "control_dropout": ("control: labels, dropout", "control-dropout", "diamond"),
}
#: Name of a teacher to what it is.
TEACHERS = {
    "network": "the teacher network",
    "ensemble": "the ensemble of networks",
    "trees": "the boosted trees",
    "mean": "their mean",
}
TREES = "boosted trees, for reference"


def curves_section(inputs: Inputs) -> dict[str, Any]:
    """Learning curves of the teacher and the students; `{}` when nothing was trained."""
    training, distillation = inputs.files["training"], inputs.files["distillation"]
    if not training:
        return {}
    curves = training["curves"]
    networks = distillation.get("networks") or {}
    gate = distillation.get("gate") or {}
    return {
        "teacher": _teacher_chart(curves),
        "teacher_facts": {
            "parameters": training.get("parameters"),
            "best_epoch": curves["best_epoch"],
            "epochs": len(curves["eval_loss"]),
            "batch_size": curves.get("batch_size"),
        },
        "students": _students_chart(networks, gate),
        "legend": [
            (charts.swatch(class_), name)
            for key, (name, class_, _) in NETWORKS.items()
            if key in networks
        ],
        "features": training.get("features") or {},
    }


def distillation_section(inputs: Inputs) -> dict[str, Any]:
    """The verdict and the table of networks; `{}` when there was no distillation."""
    report = inputs.files["distillation"]
    if not report:
        return {}
    networks = report.get("networks") or {}
    names = list(
        dict.fromkeys(name for network in networks.values() for name in network["metrics"])
    )
    teacher = report["teacher"]
    gate = report.get("gate") or {}
    rows = [
        {
            "name": "teacher",
            "class_": "teacher",
            "shape": "square",
            "chosen": False,
            "parameters": teacher["parameters"],
            "metrics": teacher["metrics"],
            "agreement": {},
            "eval_loss": teacher.get("eval_loss", gate.get("teacher_eval_loss")),
            "best_epoch": None,
        }
    ]
    trees = report.get("reference") or {}
    if trees:
        rows.append(
            {
                "name": TREES,
                "class_": "champion",
                "shape": "diamond",
                "chosen": False,
                "parameters": None,
                "metrics": trees["metrics"],
                "agreement": {},
                "eval_loss": trees.get("eval_loss"),
                "best_epoch": None,
            }
        )
    for key, network in networks.items():
        name, class_, _ = NETWORKS.get(key, (key, "control", "square"))
        curves = network["curves"]
        rows.append(
            {
                "name": name,
                "class_": class_,
                "shape": "circle",
                "chosen": key == report.get("chosen"),
                "parameters": network["parameters"],
                "metrics": network["metrics"],
                "agreement": network.get("agreement") or {},
                "eval_loss": curves["eval_loss"][curves["best_epoch"] - 1],
                "best_epoch": curves["best_epoch"],
            }
        )
    return {
        "verdict": report["verdict"],
        "helped": report.get("chosen") == "distilled",
        "rows": rows,
        "metrics": names,
        "flips": any("flip_rate" in row["agreement"] for row in rows),
        "extra": (report.get("rows") or {}).get("extra", 0),
        "eval_rows": (report.get("rows") or {}).get("eval"),
        "options": report.get("options") or {},
        "trees": trees,
        "labels": _labels(report),
        "gains": _gains(report),
        "seeds": _seeds(report),
        "search": _search(report),
        "calibration": report.get("calibration"),
    }


def _labels(report: dict[str, Any]) -> dict[str, Any]:
    """Who labelled the rows, and the loss on eval of everyone who was asked."""
    teachers = report.get("teachers") or {}
    names = teachers.get("labels") or []
    losses = teachers.get("eval_loss") or {}
    who = " and ".join(TEACHERS.get(name, name) for name in names)
    return {
        "who": f"the mean of {who}" if len(names) > 1 else who,
        "losses": [(TEACHERS.get(name, name), loss) for name, loss in losses.items()],
    }


def _gains(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Differences with their intervals: student over controls, trees over networks."""
    sides = {
        "distilled student − control: labels only": (report.get("gain") or {}).get("control"),
        "distilled student − control: labels, dropout": (report.get("gain") or {}).get(
            "control_dropout"
        ),
        **{
            f"boosted trees − {who}": ((report.get("reference") or {}).get("gain_over") or {}).get(
                key
            )
            for key, who in (("teacher", "teacher"), ("shipped", "student that goes on"))
        },
    }
    kinds = {"rows": "paired over the rows of eval", "seeds": "Student’s t over seeds"}
    return [
        {"name": name, **gain, "kind": kinds.get(gain.get("interval"), gain.get("interval"))}
        for name, gain in sides.items()
        if gain
    ]


def _seeds(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The quality of student and controls per seed; empty for a single one."""
    runs = report.get("seeds") or []
    if len(runs) < 2:
        return []
    metric = ((report.get("gain") or {}).get("control") or {}).get("metric")
    return [
        {
            "seed": run["seed"],
            "chosen": run["chosen"],
            "values": [run["networks"][key]["metrics"].get(metric) for key in NETWORKS],
        }
        for run in runs
    ]


def _search(report: dict[str, Any]) -> dict[str, Any]:
    """The shapes that were tried, those that came furthest first; `{}` when none was."""
    tried = report.get("search") or []
    if not tried:
        return {}
    order = sorted(tried, key=lambda c: (-len(c["losses"]), c["losses"][-1]["eval_loss"]))
    return {
        "rounds": max(len(candidate["losses"]) for candidate in tried),
        "rows": [
            {**candidate, "shape": ", ".join(map(str, candidate["hidden"])) or "none"}
            for candidate in order
        ],
    }


def _teacher_chart(curves: dict[str, Any]) -> Markup:
    best = curves["best_epoch"]
    series = [
        charts.Series("train", _numbered(curves["train_loss"]), "teacher-train"),
        charts.Series("eval", _numbered(curves["eval_loss"]), "teacher", marks=_best(curves)),
    ]
    label = f"The teacher's loss per epoch on train and eval; the best was epoch {best}"
    return charts.line_chart(series, label, "epoch", "loss")


def _students_chart(networks: dict[str, Any], gate: dict[str, Any]) -> Markup:
    series = [
        charts.Series(
            name,
            _numbered(networks[key]["curves"]["eval_loss"]),
            class_,
            shape,
            _best(networks[key]["curves"]),
        )
        for key, (name, class_, shape) in NETWORKS.items()
        if key in networks
    ]
    teacher = gate.get("teacher_eval_loss")
    rules = (
        [charts.Rule(teacher, f"teacher {words.metric(teacher)}", "teacher-rule")]
        if words.is_number(teacher)
        else []
    )
    label = "Loss on eval per epoch: the distilled student and its two controls"
    return charts.line_chart(series, label, "epoch", "loss on eval", rules=rules)


def _numbered(values: list[float]) -> list[tuple[float, float]]:
    return [(float(epoch), value) for epoch, value in enumerate(values, 1)]


def _best(curves: dict[str, Any]) -> list[tuple[float, float, str]]:
    best = curves["best_epoch"]
    value = curves["eval_loss"][best - 1]
    return [(float(best), value, f"kept: epoch {best}, loss on eval {words.metric(value)}")]
