"""Makes, measures and chooses variants."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import logging
import os
import shutil
import tempfile
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from custom_components.tflite_quantizer import coverage, needs, picks, recipes, searcher, trials
from custom_components.tflite_quantizer.convert import Job, convert
from custom_components.tflite_quantizer.measure import measure
from custom_components.tflite_quantizer.options import QuantizerOptions
from custom_components.tflite_quantizer.sensitivity import (
    LAST,
    LayerDrop,
    least_tolerant,
    sensitivity,
)
from custom_components.tflite_quantizer.variant import Variant
from models import bundle, comparison, examples, isolation, metrics, progress
from models.errors import FlywheelError
from models.graph import Preprocessor
from models.options import NetworkOptions
from models.predictor import SERVING_FOLDER, TFLITE_FILE, Predictor, TFLiteRunner, by_tensor
from models.rows import Rows, preprocess
from models.spec import ModelSpec
from models.student import answers, labels_of
from models.training import predict_logits

REPORT_FILE = "variants.json"
TRIALS_FILE = "trials.json"
TEACHER_NAME = "teacher_float32"
#: What converting processes begin with.
PRELOAD = [f"custom_components.tflite_quantizer.{name}" for name in ("convert", "compress")]


class Executor(base_executor.BaseExecutor):
    """See component.py for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        options = QuantizerOptions.model_validate_json(exec_properties["options"])
        chosen_recipes = options.chosen()
        source = artifact_utils.get_single_uri(input_dict["model"])
        teacher_source = artifact_utils.get_single_uri(input_dict["teacher"])
        folder = artifact_utils.get_single_uri(output_dict["variants"])
        os.makedirs(folder, exist_ok=True)

        isolation.warm_up(PRELOAD)
        progress.doing("reading examples")
        spec, shape, network = bundle.load(source)
        preprocessor = Preprocessor(spec)
        train, valid = (
            preprocess(
                spec,
                examples.sample_split(
                    artifact_utils.get_split_uri(input_dict["examples"], split),
                    options.most_rows,
                    exec_properties["seed"],
                ),
                preprocessor,
                keep_inputs=True,
            )
            for split in ("train", "eval")
        )
        reference = answers(spec, predict_logits(network, spec, valid))
        skipped = {
            recipe.name: reason
            for recipe in chosen_recipes
            if (reason := needs.reason_to_skip(recipe, spec, shape, len(train)))
        }
        with tempfile.TemporaryDirectory() as scratch:
            rows = os.path.join(scratch, "rows.npz")
            write_rows(
                rows,
                spec,
                train,
                valid,
                predict_logits(network, spec, train),
                options.representative_rows,
            )
            layers: list[LayerDrop] = []
            if options.sensitivity:
                float_job = Job(
                    recipes.get("float32_compact"),
                    source,
                    os.path.join(scratch, "layer"),
                    rows,
                    options.qat_epochs,
                    exec_properties["seed"],
                )
                layers = _layers(float_job, spec, shape, valid, reference, options)
            sensitive = _sensitive(layers, options.max_drop)
            found = None
            if options.search.trials:
                found = searcher.find(
                    options,
                    spec,
                    shape,
                    source,
                    rows,
                    train,
                    valid,
                    reference,
                    folder,
                    exec_properties["seed"],
                    sensitive,
                )
                _write_json(os.path.join(folder, TRIALS_FILE), found.to_dict())
                tried = {trials.key(recipe) for recipe in chosen_recipes}
                if found.best and trials.key(found.best.recipe) not in tried:
                    chosen_recipes += (found.best.recipe,)
            jobs = {
                name: Job(
                    recipe,
                    model,
                    os.path.join(folder, f"{name}.tflite"),
                    rows,
                    options.qat_epochs,
                    exec_properties["seed"],
                )
                for name, recipe, model in (
                    *((r.name, r, source) for r in chosen_recipes if r.name not in skipped),
                    (TEACHER_NAME, recipes.get("float32"), teacher_source),
                )
            }
            failed = {**skipped, **_convert_all(jobs, options)}
        made = {name: job.output for name, job in jobs.items() if name not in failed}
        measured = measure(spec, valid, made, reference, options.min_slice_rows)
        variants = [
            Variant(recipe.name, recipe.name, state="skipped", reason=failed[recipe.name])
            if recipe.name in failed
            else Variant(recipe.name, recipe.name, **measured.files[recipe.name])
            for recipe in chosen_recipes
        ]
        variants = picks.decide(variants, options.limits(), options.pick)
        shipped = next((v for v in variants if v.state == "shipped"), None)
        report = {
            "primary_metric": metrics.PRIMARY[spec.task],
            "max_drop": options.max_drop,
            "limits": dataclasses.asdict(options.limits()),
            "pick": options.pick,
            "student": {"metrics": metrics.score(spec.task, labels_of(spec, valid), reference)},
            "teacher": measured.files.get(TEACHER_NAME, {}),
            "variants": [v.to_dict() for v in variants],
            "timing": measured.timing,
            "layers": [layer.to_dict() for layer in layers],
            "sensitive": list(sensitive),
            "search": {
                **options.search.model_dump(),
                "recipes": found.recipes,
                "stopped": found.stopped,
                "best": found.best and found.best.name,
            }
            if found
            else None,
            "recipes": {r.name: r.to_dict() for r in chosen_recipes},
            "rows": {"train": len(train), "eval": len(valid)},
        }
        _write_json(os.path.join(folder, REPORT_FILE), report)
        if shipped is None:
            raise FlywheelError(
                "NO_VARIANT",
                "No variant can ship: "
                + "; ".join(f"{v.name}: {v.reason}" for v in variants)
                + ".",
                next="Add the recipe `float32`, or raise `quantizer.max_drop` in flywheel.yaml.",
                cases=[{"variant": v.name, "state": v.state, "reason": v.reason} for v in variants],
            )
        target = artifact_utils.get_single_uri(output_dict["chosen"])
        os.makedirs(os.path.join(target, SERVING_FOLDER), exist_ok=True)
        spec.save(target)
        shutil.copyfile(made[shipped.name], os.path.join(target, SERVING_FOLDER, TFLITE_FILE))


def _layers(
    job: Job,
    spec: ModelSpec,
    shape: NetworkOptions,
    valid: Rows,
    reference: np.ndarray,
    options: QuantizerOptions,
) -> list[LayerDrop]:
    """What 8 bits cost in each layer alone."""
    progress.doing("quantizing one layer at a time")
    labels = labels_of(spec, valid)

    def judge(content: bytes) -> dict[str, Any]:
        predictions = Predictor(spec, TFLiteRunner(content)).predict_inputs(valid.inputs)
        return comparison.drop(spec.task, labels, reference, predictions).to_dict()

    return sensitivity(
        job,
        spec,
        shape,
        judge,
        seconds=options.timeout_seconds,
        memory_mb=options.memory_mb,
        workers=os.cpu_count() or 1,
    )


def _sensitive(layers: list[LayerDrop], max_drop: float) -> tuple[str, ...]:
    """Layers that the search may leave in float: alone each may lose more than an equal share
    of the bound. The last layer is float wherever layers compute in integers."""
    if not layers:
        return ()
    return tuple(n for n in least_tolerant(layers, max_drop / len(layers)) if n != LAST)


def _write_json(path: str, content: dict[str, Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)


def _convert_all(jobs: dict[str, Job], options: QuantizerOptions) -> dict[str, str]:
    """Runs every job in a process of its own, as many at once as there are cores.

    Returns:
      Name to the reason for each that failed.
    """
    failed: dict[str, str] = {}

    def one(name: str) -> None:
        try:
            isolation.run_isolated(
                convert, jobs[name], seconds=options.timeout_seconds, memory_mb=options.memory_mb
            )
        except isolation.Isolated as error:
            logging.getLogger(__name__).warning("recipe %s: %s", name, error)
            failed[name] = str(error)

    # Fine-tuning takes longest: it starts first.
    order = sorted(jobs, key=lambda name: not jobs[name].recipe.fine_tunes)
    workers = max(1, min(len(order), os.cpu_count() or 1))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done, finished in enumerate(pool.map(one, order), 1):
            del finished
            progress.step("converting", done, len(order))
    return failed


def write_rows(
    path: str,
    spec: ModelSpec,
    train: Rows,
    valid: Rows,
    logits: np.ndarray,
    representative: int,
) -> None:
    """Everything a converting process may need, in one file."""
    picked = coverage.representative(train, representative)
    np.savez(
        path,
        student_logits=logits,
        **{
            f"{name}:{key}": getattr(part, key)
            for name, part in (("train", train), ("eval", valid))
            for key in ("numeric", "ids", "labels", *(("image",) if spec.image else ()))
        },
        **{f"input:{name}": x[picked] for name, x in by_tensor(spec, train.inputs).items()},
    )
