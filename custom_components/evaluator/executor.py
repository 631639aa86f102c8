"""The Evaluator's work: measure on one of two engines, judge, write, bless."""

from __future__ import annotations

import collections
import difflib
import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from custom_components.evaluator import (
    beam_engine,
    chance,
    config,
    judge,
    local_engine,
    pictures,
    reasons,
    results,
    scoring,
    thresholds,
)
from custom_components.evaluator.accumulators import Unsupported
from custom_components.evaluator.options import EvaluationOptions
from custom_components.evaluator.verdict import (
    CHAMPION,
    SHIPPED,
    STUDENT,
    TEACHER,
    VERDICT_FILE,
    SliceResult,
    Verdict,
)
from models import progress
from models.errors import ConfigError, DataError, FlywheelError, Reason
from models.options import TaskOptions
from models.predictor import Predictor
from models.spec import SPEC_FILE, ModelSpec

_LOG = logging.getLogger(__name__)
_SEVERITIES = ("block", "warn", "info")


class Executor(base_beam_executor.BaseBeamExecutor):
    """See `Evaluator` for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Measures, judges and writes.

        Raises:
          ConfigError: A threshold that can never hold, or a slicing column that the
            schema does not have.
          DataError: No such split, or no row of it has a label.
          FlywheelError: The models do not solve this task.
        """
        options = EvaluationOptions.model_validate_json(exec_properties["options"])
        task_options = TaskOptions.model_validate_json(exec_properties["task"])
        thresholds.check_thresholds(options, task_options.type)
        split = exec_properties.get("split") or "test"
        output = artifact_utils.get_single_uri(output_dict["evaluation"])
        fileio.makedirs(output)

        spec, models, notes = _models(input_dict, task_options)
        slicings = tuple(dict.fromkeys(columns for columns in options.slices if columns))
        _check_slices(slicings, input_dict.get("schema"))
        task = scoring.Task(spec, models, slicings)
        eval_config = config.eval_config(spec, list(models), slicings)
        counts, engine = self._measure(
            exec_properties.get("engine") or "local",
            eval_config,
            task,
            input_dict["examples"],
            split,
            output,
        )
        measured = results.load(output, spec, list(models), slicings)
        if not measured:
            raise DataError(
                "LABEL_UNUSABLE",
                f"No row of the {split} split has a `{spec.label}` that can be judged on "
                f"({counts['label_missing']:,} have none, {counts['label_unknown']:,} one that "
                "was not there in train).",
                next="Give the test rows labels, or split the data another way.",
            )

        compared = judge.compare(measured, options, spec)
        if options.confidence:
            margins = chance.margins(
                compared, measured, options.confidence, task, input_dict["examples"], split
            )
            compared = judge.allow_for_chance(compared, margins)
        eval_config = judge.final_config(spec, list(models), slicings, compared)
        validation = judge.validate(measured, eval_config, compared, spec)
        notes += reasons.of_thresholds(compared, measured, spec)
        notes += reasons.of_measurement(counts, measured, slicings, spec)
        blessed = not any(reason.severity == "block" for reason in notes)
        if blessed and not validation.validation_ok:
            blessed = False
            notes.append(
                Reason(
                    "VALIDATION_FAILED",
                    "TFMA's own validation does not hold, though every single threshold does.",
                    next="Read validations.tfrecord with tfma.load_validation_result, and report "
                    "this.",
                    severity="block",
                )
            )
        validation.validation_ok = blessed
        verdict = Verdict(
            blessed=blessed,
            reasons=tuple(sorted(notes, key=lambda r: _SEVERITIES.index(r.severity))),
            task=spec.task,
            label=spec.label,
            classes=spec.classes,
            quality=thresholds.QUALITY[spec.task],
            rows={
                "evaluated": measured[0].rows,
                "label_missing": counts["label_missing"],
                "label_unknown": counts["label_unknown"],
            },
            metrics=measured[0].metrics,
            slices=tuple(
                SliceResult(m.slice, m.rows, judge.is_judged(m, options, spec), m.metrics)
                for m in measured[1:]
            ),
            thresholds=tuple(compared),
            plots=measured[0].plots,
            engine=engine,
        )
        _write(output, eval_config, validation, verdict, models)
        if spec.image and spec.task != "regression":
            progress.doing("picking pictures for the report")
            shipped = Predictor.load(scoring.local_folder(models[SHIPPED]))
            found = pictures.collect(shipped, scoring.read(input_dict["examples"], split))
            path = os.path.join(output, pictures.PICTURES_FILE)
            io_utils.write_string_file(path, json.dumps(found))
        _bless(input_dict, output_dict, exec_properties, models, blessed)

    def _measure(
        self,
        engine: str,
        eval_config: tfma.EvalConfig,
        task: scoring.Task,
        examples: list[types.Artifact],
        split: str,
        output: str,
    ) -> tuple[collections.Counter[str], dict[str, str]]:
        progress.doing(f"evaluating {len(task.models)} models on {split}")
        why = "as configured"
        if engine == "local":
            try:
                counts = local_engine.evaluate(eval_config, task, examples, split, output)
                return counts, {"requested": engine, "ran": "local", "why": why}
            except Unsupported as reason:
                why = f"the local engine does not reproduce {reason}"
                _LOG.warning("Evaluating on Beam: %s.", why)
        counts = beam_engine.evaluate(
            eval_config, task, examples, split, output, self._make_beam_pipeline
        )
        return counts, {"requested": engine, "ran": "beam", "why": why}


def _models(
    input_dict: dict[str, list[types.Artifact]], task: TaskOptions
) -> tuple[ModelSpec, dict[str, str], list[Reason]]:
    """The shipped model's contract, the folders of the models to measure, and remarks."""
    folders = {
        SHIPPED: artifact_utils.get_single_uri(input_dict["model"]),
        TEACHER: artifact_utils.get_single_uri(input_dict["teacher"]),
    }
    if input_dict.get("student"):
        folders[STUDENT] = artifact_utils.get_single_uri(input_dict["student"])
    spec = ModelSpec.load(scoring.local_folder(folders[SHIPPED]))
    if (spec.task, spec.label) != (task.type, task.label):
        raise FlywheelError(
            "MODEL_OF_OTHER_TASK",
            f"The model predicts `{spec.label}` ({spec.task}), and the config asks for "
            f"`{task.label}` ({task.type}).",
            next="Train again with this config.",
        )
    why = scoring.incomparable(ModelSpec.load(scoring.local_folder(folders[TEACHER])), spec)
    if why:
        raise FlywheelError(
            "TEACHER_INCOMPARABLE",
            f"The teacher cannot be compared with the model that would ship: {why}.",
            next="Evaluate a student with the teacher it learned from.",
        )
    champion = _champion(input_dict)
    if champion is None:
        return spec, folders, [reasons.NO_BASELINE]
    try:
        why = scoring.incomparable(ModelSpec.load(scoring.local_folder(champion)), spec)
        if not why:
            scoring.Predictor.load(scoring.local_folder(champion))
    except Exception as error:  # a broken champion must not keep its successor out
        _LOG.warning("The champion cannot be loaded.", exc_info=True)
        why = f"it cannot be loaded ({error})"
    if why:
        return spec, folders, [reasons.champion_incomparable(why)]
    return spec, {**folders, CHAMPION: champion}, []


def _champion(input_dict: dict[str, list[types.Artifact]]) -> str | None:
    """Folder of the deployed model, if there is one."""
    artifacts = input_dict.get("champion") or []
    if not artifacts:
        return None
    artifact = artifacts[0]
    if artifact.has_custom_property("present"):
        present = bool(artifact.get_int_custom_property("present"))
    else:
        present = fileio.exists(os.path.join(artifact.uri, SPEC_FILE))
    return artifact.uri if present else None


def _check_slices(slicings: Sequence[Sequence[str]], schema: list[types.Artifact] | None) -> None:
    if not schema:
        return
    path = io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(schema))
    columns = [feature.name for feature in io_utils.SchemaReader().read(path).feature]
    unknown = dict.fromkeys(c for names in slicings for c in names if c not in columns)
    if unknown:
        cases = []
        for name in unknown:
            close = difflib.get_close_matches(name, columns, 1, 0.5)
            cases.append({"column": name, "closest": close[0] if close else ""})
        hints = ", ".join(
            f"`{c['column']}`" + f" (did you mean `{c['closest']}`?)" * bool(c["closest"])
            for c in cases
        )
        raise ConfigError(
            "SLICE_UNKNOWN",
            f"`evaluation.slices` names columns that the data does not have: {hints}.",
            next="Correct the name; the columns are " + ", ".join(columns) + ".",
            cases=cases,
        )


def _write(
    output: str,
    eval_config: tfma.EvalConfig,
    validation: Any,
    verdict: Verdict,
    models: dict[str, str],
) -> None:
    """What TFMA's own writers would leave beside metrics and plots, and the verdict."""
    with tf.io.TFRecordWriter(os.path.join(output, "validations.tfrecord")) as writer:
        writer.write(validation.SerializeToString())
    run = tfma.proto.config_pb2.EvalRun(
        eval_config=eval_config,
        version=tfma.version.VERSION,
        data_location="<user provided PCollection>",
        file_format="<unknown>",
        model_locations=models,
    )
    io_utils.write_string_file(
        os.path.join(output, "eval_config.json"), json_format.MessageToJson(run)
    )
    io_utils.write_string_file(os.path.join(output, VERDICT_FILE), verdict.to_json())


def _bless(
    input_dict: dict[str, list[types.Artifact]],
    output_dict: dict[str, list[types.Artifact]],
    exec_properties: dict[str, Any],
    models: dict[str, str],
    blessed: bool,
) -> None:
    """The ModelBlessing as TFX's own Evaluator leaves it."""
    blessing = artifact_utils.get_single_instance(output_dict["blessing"])
    model = artifact_utils.get_single_instance(input_dict["model"])
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if CHAMPION in models:
        champion = input_dict["champion"][0]
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, champion.uri
        )
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, champion.id
        )
    if "current_component_id" in exec_properties:
        blessing.set_string_custom_property("component_id", exec_properties["current_component_id"])
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
    )
