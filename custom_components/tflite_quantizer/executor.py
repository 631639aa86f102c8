"""Makes, measures and chooses variants."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import gzip
import json
import logging
import os
import shutil
import tempfile
from typing import Any

import numpy as np
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.convert import Job, convert
from custom_components.tflite_quantizer.options import QuantizerOptions
from custom_components.tflite_quantizer.variant import Variant, choose
from models import bundle, examples, isolation, metrics, progress
from models.benchmark import benchmark
from models.errors import FlywheelError
from models.graph import Preprocessor
from models.predictor import SERVING_FOLDER, TFLITE_FILE, Predictor, TFLiteRunner, by_tensor
from models.rows import Rows, preprocess
from models.spec import ModelSpec
from models.student import answers, labels_of
from models.training import predict_logits

REPORT_FILE = "variants.json"
TEACHER_NAME = "teacher_float32"
PRELOAD = ["custom_components.tflite_quantizer.convert"]


class Executor(base_executor.BaseExecutor):
    """See component.py for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        options = QuantizerOptions.model_validate_json(exec_properties["options"])
        chosen_recipes = [recipes.get(name) for name in options.recipes]
        source = artifact_utils.get_single_uri(input_dict["model"])
        teacher_source = artifact_utils.get_single_uri(input_dict["teacher"])
        folder = artifact_utils.get_single_uri(output_dict["variants"])
        os.makedirs(folder, exist_ok=True)

        isolation.warm_up(PRELOAD)
        progress.doing("reading examples")
        spec, _, network = bundle.load(source)
        _, _, teacher = bundle.load(teacher_source)
        preprocessor = Preprocessor(spec)
        train, valid = (
            preprocess(
                spec,
                examples.read_split(artifact_utils.get_split_uri(input_dict["examples"], split)),
                preprocessor,
                keep_inputs=True,
            )
            for split in ("train", "eval")
        )
        float_logits = predict_logits(network, spec, valid)
        with tempfile.TemporaryDirectory() as scratch:
            rows = os.path.join(scratch, "rows.npz")
            _write_rows(
                rows,
                spec,
                train,
                valid,
                predict_logits(teacher, spec, train),
                options.representative_rows,
            )
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
                    *((recipe.name, recipe, source) for recipe in chosen_recipes),
                    (TEACHER_NAME, recipes.get("float32"), teacher_source),
                )
            }
            failed = _convert_all(jobs, options)
        made = {name: job.output for name, job in jobs.items() if name not in failed}
        progress.doing(f"timing {len(made)} files")
        timings = benchmark(made, by_tensor(spec, valid.inputs))
        reference_answers = answers(spec, float_logits)
        labels = labels_of(spec, valid)
        reference = metrics.score(spec.task, labels, reference_answers)
        variants = []
        for recipe in chosen_recipes:
            if recipe.name in failed:
                variants.append(
                    Variant(recipe.name, recipe.name, state="skipped", reason=failed[recipe.name])
                )
                continue
            predictions = _predict(spec, made[recipe.name], valid)
            variants.append(
                Variant(
                    recipe.name,
                    recipe.name,
                    **_size(made[recipe.name]),
                    metrics=metrics.score(spec.task, labels, predictions),
                    agreement=metrics.agreement(spec.task, reference_answers, predictions),
                    latency_us={
                        "p50": timings[recipe.name].p50,
                        "p90": timings[recipe.name].p90,
                    },
                    rows_per_s=timings[recipe.name].rows_per_s,
                )
            )
        primary = metrics.PRIMARY[spec.task]
        variants = choose(
            spec.task, variants, reference.get(primary, float("nan")), options.max_drop
        )
        shipped = next((v for v in variants if v.state == "shipped"), None)
        teacher_row: dict[str, Any] = {}
        if TEACHER_NAME in made:
            teacher_row = {
                **_size(made[TEACHER_NAME]),
                "metrics": metrics.score(
                    spec.task, labels, _predict(spec, made[TEACHER_NAME], valid)
                ),
                "latency_us": {
                    "p50": timings[TEACHER_NAME].p50,
                    "p90": timings[TEACHER_NAME].p90,
                },
                "rows_per_s": timings[TEACHER_NAME].rows_per_s,
            }
        report = {
            "primary_metric": primary,
            "max_drop": options.max_drop,
            "student": {"metrics": reference},
            "teacher": teacher_row,
            "variants": [v.to_dict() for v in variants],
            "timing": {
                "interpreter": "LiteRT, 1 thread",
                "runs": next(iter(timings.values())).runs if timings else 0,
                "batch": next(iter(timings.values())).batch if timings else 0,
            },
            "recipes": {r.name: dataclasses.asdict(r) for r in chosen_recipes},
            "rows": {"train": len(train), "eval": len(valid)},
        }
        with open(os.path.join(folder, REPORT_FILE), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
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
    order = sorted(jobs, key=lambda name: jobs[name].recipe.ranges != "aware")
    workers = max(1, min(len(order), os.cpu_count() or 1))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done, finished in enumerate(pool.map(one, order), 1):
            del finished
            progress.step("converting", done, len(order))
    return failed


def _write_rows(
    path: str,
    spec: ModelSpec,
    train: Rows,
    valid: Rows,
    teacher_logits: np.ndarray,
    representative: int,
) -> None:
    """Everything a converting process may need, in one file."""
    picked = np.unique(np.linspace(0, len(train) - 1, representative).astype(int))
    np.savez(
        path,
        teacher_logits=teacher_logits,
        **{
            f"{name}:{key}": getattr(part, key)
            for name, part in (("train", train), ("eval", valid))
            for key in ("numeric", "ids", "labels")
        },
        **{f"input:{name}": x[picked] for name, x in by_tensor(spec, train.inputs).items()},
    )


def _predict(spec: ModelSpec, path: str, rows: Rows) -> np.ndarray:
    return Predictor(spec, TFLiteRunner(path)).predict_inputs(rows.inputs)


def _size(path: str) -> dict[str, int]:
    with open(path, "rb") as file:
        content = file.read()
    return {
        "bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
    }
