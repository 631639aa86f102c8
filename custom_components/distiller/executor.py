"""Trains student and controls, decides which goes on, and says why."""

from __future__ import annotations

import json
import os
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from custom_components.example_gen.reader import open_dataset
from models import bundle, examples, metrics, progress
from models.graph import Preprocessor
from models.options import DistillationOptions, StudentOptions, TaskOptions
from models.rows import Rows, preprocess
from models.spec import ModelSpec
from models.student import Trained, answers, distill, measure
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
        spec, _, teacher = bundle.load(artifact_utils.get_single_uri(input_dict["teacher"]))
        progress.doing("reading examples")
        preprocessor = Preprocessor(spec)
        train_rows, eval_rows = (
            preprocess(
                spec,
                examples.read_split(artifact_utils.get_split_uri(input_dict["examples"], split)),
                preprocessor,
            )
            for split in ("train", "eval")
        )
        extra = _extra_rows(spec, options, preprocessor)
        distilled, control, with_dropout, teacher_loss = distill(
            spec,
            teacher,
            train_rows,
            eval_rows,
            student,
            options,
            extra_rows=extra,
            balanced=task.class_weights == "balanced",
            seed=exec_properties["seed"],
        )
        helps = teacher_loss < control.curves.best_eval_loss
        chosen = distilled if helps else control
        progress.doing("saving the student")
        bundle.save(
            artifact_utils.get_single_uri(output_dict["model"]), spec, student, chosen.network
        )
        teacher_answers = answers(spec, predict_logits(teacher, spec, eval_rows))
        report = {
            "chosen": "distilled" if helps else "control",
            "verdict": _verdict(spec, helps, distilled, control, with_dropout, teacher_loss),
            "gate": {
                "teacher_eval_loss": teacher_loss,
                "control_eval_loss": control.curves.best_eval_loss,
            },
            "teacher": {
                "parameters": int(teacher.count_params()),
                "metrics": measure(teacher, spec, eval_rows),
            },
            "networks": {
                name: {
                    **trained.report(),
                    "agreement": metrics.agreement(
                        spec.task,
                        teacher_answers,
                        answers(spec, predict_logits(trained.network, spec, eval_rows)),
                    ),
                }
                for name, trained in (
                    ("distilled", distilled),
                    ("control", control),
                    ("control_dropout", with_dropout),
                )
            },
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


def _extra_rows(
    spec: ModelSpec, options: DistillationOptions, preprocessor: Preprocessor
) -> Rows | None:
    if not options.extra_data:
        return None
    progress.doing("reading extra rows")
    return preprocess(
        spec, open_dataset(options.extra_data).batches(), preprocessor, unlabelled=True
    )


def _verdict(
    spec: ModelSpec,
    helps: bool,
    distilled: Trained,
    control: Trained,
    with_dropout: Trained,
    teacher_loss: float,
) -> str:
    """What distillation was worth on eval, in one or two sentences."""
    name = metrics.PRIMARY[spec.task]
    got, plain, dropped = (
        trained.metrics.get(name, float("nan")) for trained in (distilled, control, with_dropout)
    )
    numbers = (
        f"{name} on eval: distilled {got:.4f}, the same student on the labels {plain:.4f}, "
        f"with dropout {dropped:.4f}."
    )
    if not helps:
        return (
            f"The teacher's validation loss ({teacher_loss:.4f}) is no better than that of the "
            f"same student trained on the labels ({control.curves.best_eval_loss:.4f}): there is "
            f"nothing to learn from it, and the student trained on the labels goes on. {numbers}"
        )
    if got > max(plain, dropped):
        return f"Distillation helps here, by {got - plain:+.4f}. {numbers}"
    if got > plain:
        return (
            f"Distillation helps by {got - plain:+.4f}, and dropout alone gives as much "
            f"({dropped - plain:+.4f}). {numbers}"
        )
    return (
        f"Distillation does not show a gain on these {name} figures ({got - plain:+.4f}); the "
        f"teacher's validation loss is better, so its student goes on. {numbers}"
    )
