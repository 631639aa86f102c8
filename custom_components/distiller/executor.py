"""Trains the reference, student and controls, decides which goes on, and says why."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from custom_components.distiller import extra as unlabelled_rows
from custom_components.distiller import verdict
from models import bundle, calibration, examples, gain, metrics, progress, reference, teachers
from models.graph import Preprocessor
from models.options import DistillationOptions, StudentOptions, TaskOptions
from models.rows import Rows, preprocess
from models.search import search
from models.spec import ModelSpec
from models.student import Trained, answers, distill, labels_of, loss_of, row_weights
from models.training import predict_logits

REPORT_FILE = "distillation.json"


class Executor(base_executor.BaseExecutor):
    """See component.py for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        task = TaskOptions.model_validate_json(exec_properties["task"])
        student = StudentOptions.model_validate_json(exec_properties["student"])
        options = DistillationOptions.model_validate_json(exec_properties["options"])
        seed, balanced = exec_properties["seed"], task.class_weights == "balanced"
        spec, shape, network = bundle.load(artifact_utils.get_single_uri(input_dict["teacher"]))
        progress.doing("reading examples")
        preprocessor = Preprocessor(spec)
        train_rows, eval_rows = (
            _read(
                spec,
                examples.sample_split(
                    artifact_utils.get_split_uri(input_dict["examples"], split), most, seed
                ),
                preprocessor,
            )
            for split, most in task.most().items()
        )
        extra = None
        if options.extra_data:
            progress.doing("reading extra rows")
            extra = _read(
                spec,
                unlabelled_rows.batches(options.extra_data, _image_kind(spec)),
                preprocessor,
                unlabelled=True,
            )
        progress.doing("boosting trees for reference")
        trees = reference.fit(
            spec, train_rows, weights=row_weights(spec, train_rows, balanced), seed=seed
        )
        lesson = teachers.prepare(
            spec,
            network,
            shape,
            trees,
            train_rows,
            eval_rows,
            options,
            extra_rows=extra,
            balanced=balanced,
            seed=seed,
        )
        student, tried = search(
            spec, lesson, eval_rows, student, options, balanced=balanced, seed=seed
        )
        runs = [
            distill(
                spec,
                lesson,
                train_rows,
                eval_rows,
                student,
                options,
                balanced=balanced,
                seed=seed + number,
            )
            for number in range(options.seeds)
        ]
        judge = _Judge(spec, eval_rows, runs, lesson.eval_loss)
        chosen, place = judge.choose()
        trained = runs[place][chosen]
        calibrated = None
        if options.calibrate:
            calibrated = calibration.calibrate(
                spec, judge.logits[place][chosen], judge.labels, seed
            )
            if calibrated and calibrated.applied:
                calibration.fold(trained.network, calibrated.temperature)
        progress.doing("saving the student")
        bundle.save(
            artifact_utils.get_single_uri(output_dict["model"]), spec, student, trained.network
        )
        network_logits = predict_logits(network, spec, eval_rows)
        teacher_answers = answers(spec, network_logits)
        about_trees, warning = _about_trees(
            judge, trees, spec, eval_rows, teacher_answers, judge.answers[place][chosen]
        )
        report = {
            "chosen": chosen,
            "verdict": " ".join(filter(None, (judge.verdict(), warning))),
            "gate": {
                "teacher_eval_loss": lesson.eval_loss,
                "control_eval_loss": judge.control_loss,
            },
            "teacher": {
                "parameters": int(network.count_params()),
                "metrics": metrics.score(spec.task, judge.labels, teacher_answers),
                "eval_loss": loss_of(spec, network_logits, eval_rows),
            },
            "teachers": {"labels": list(lesson.teachers), "eval_loss": lesson.candidates},
            "reference": about_trees,
            "networks": {
                name: {
                    **other.report(),
                    "agreement": metrics.agreement(
                        spec.task, teacher_answers, judge.answers[place][name]
                    ),
                }
                for name, other in runs[place].items()
            },
            "gain": {name: found.to_dict() for name, found in judge.gains.items()},
            "seeds": [
                {
                    "seed": seed + number,
                    "chosen": number == place,
                    "networks": {
                        name: {
                            "metrics": other.metrics,
                            "eval_loss": other.curves.best_eval_loss,
                        }
                        for name, other in run.items()
                    },
                }
                for number, run in enumerate(runs)
            ],
            "student": {"embedding": student.embedding, "hidden": list(student.hidden)},
            "search": [candidate.to_dict() for candidate in tried],
            "calibration": calibrated and calibrated.to_dict(),
            "options": options.model_dump(),
            "rows": {
                "train": len(train_rows),
                "eval": len(eval_rows),
                "extra": 0 if extra is None else len(extra),
            },
        }
        folder = artifact_utils.get_single_uri(output_dict["model_run"])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, REPORT_FILE), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)


class _Judge:
    """Compares the networks of all seeds on eval.

    Attributes:
      labels: Of eval, `[n]`.
      logits, answers: Per seed, name to what the network says about eval, uncalibrated.
      control_loss: Mean over seeds of the control's best loss.
      gains: `control` and `control_dropout` to what the distilled student gains over it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        rows: Rows,
        runs: list[dict[str, Trained]],
        teacher_loss: float,
    ):
        self._spec, self._runs = spec, runs
        self._teacher_loss = teacher_loss
        self.labels = labels_of(spec, rows)
        self.logits = [
            {name: predict_logits(t.network, spec, rows) for name, t in run.items()} for run in runs
        ]
        self.answers = [
            {name: answers(spec, logits) for name, logits in run.items()} for run in self.logits
        ]
        self.control_loss = float(np.mean([r["control"].curves.best_eval_loss for r in runs]))
        self.gains = {name: self._gain(name) for name in ("control", "control_dropout")}

    def against(self, model: np.ndarray, other: np.ndarray) -> gain.Gain:
        return gain.over_rows(self._spec.task, self.labels, model, other)

    def choose(self) -> tuple[str, int]:
        """Which network goes on, and of which seed: the best on eval."""
        helps = verdict.chooses_distilled(
            self._teacher_loss, self.control_loss, self.gains["control"]
        )
        name = "distilled" if helps else "control"
        losses = [run[name].curves.best_eval_loss for run in self._runs]
        return name, int(np.argmin(losses))

    def verdict(self) -> str:
        return verdict.distillation(
            self._spec.task,
            {name: self._mean(name) for name in self._runs[0]},
            self.gains["control"],
            self.gains["control_dropout"],
            self._teacher_loss,
            self.control_loss,
        )

    def _values(self, name: str) -> np.ndarray:
        metric = metrics.PRIMARY[self._spec.task]
        return np.array([run[name].metrics.get(metric, math.nan) for run in self._runs])

    def _mean(self, name: str) -> float:
        return float(np.mean(self._values(name)))

    def _gain(self, control: str) -> gain.Gain:
        if len(self._runs) == 1:
            return self.against(self.answers[0]["distilled"], self.answers[0][control])
        return gain.over_seeds(
            metrics.PRIMARY[self._spec.task],
            list(self._values("distilled") - self._values(control)),
            len(self.labels),
        )


def _image_kind(spec: ModelSpec) -> dict[str, str]:
    """Other columns may be missing from further rows, and are told by what they hold."""
    return {spec.image.name: "image"} if spec.image else {}


def _read(spec: ModelSpec, batches: Any, preprocessor: Preprocessor, **settings: Any) -> Rows:
    """Rows with the raw numbers among their inputs, where a missing one still shows."""
    rows = preprocess(spec, batches, preprocessor, keep_inputs=True, **settings)
    numbers = {f.name: rows.inputs[f.name] for f in spec.numeric} if rows.inputs else None
    return dataclasses.replace(rows, inputs=numbers)


def _about_trees(
    judge: _Judge,
    trees: reference.Reference,
    spec: ModelSpec,
    rows: Rows,
    teacher: np.ndarray,
    shipped: np.ndarray,
) -> tuple[dict[str, Any], str | None]:
    """The reference in the report, and the warning where it beats a network."""
    logits = trees.logits(rows)
    said = answers(spec, logits)
    gains = {"teacher": judge.against(said, teacher), "shipped": judge.against(said, shipped)}
    warning = verdict.reference(spec.task, gains["teacher"], gains["shipped"])
    return {
        **trees.report(),
        "metrics": metrics.score(spec.task, judge.labels, said),
        "eval_loss": loss_of(spec, logits, rows),
        "gain_over": {name: found.to_dict() for name, found in gains.items()},
        "warning": warning,
    }, warning
