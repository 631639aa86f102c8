"""What distillation is worth: the student against its controls over several seeds, paired.

    python -m benchmarks.distillation [--data demo:chicago-taxi] [--seeds 5] [--split time|hash]

Reads the table through the product's own components, trains teacher, student and
both controls per seed with the config's defaults, and measures all on the test
split. Prints a row per seed and the mean paired gain with its 95 % interval
(Student's t). Writes benchmarks/results/distillation.json.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import tempfile

import numpy as np
import yaml
from scipy import stats

from models import stack

stack.prepare_environment()

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAMES = ("teacher", "distilled", "control", "control_dropout")


def prepare(data: str, split: str, folder: pathlib.Path):
    """Splits and statistics from the product's components; the contract and rows of each split."""
    from custom_components.example_gen.reader import open_dataset
    from custom_components.example_gen.split import SPLITS, plan
    from custom_components.statistics_gen.options import StatisticsOptions
    from custom_components.statistics_gen.statistics import compute
    from models.preprocessing import build_spec
    from models.rows import preprocess
    from pipeline import config as config_module
    from pipeline.demos import DEMOS
    from pipeline.guess import guess, look
    from pipeline.starter import starter_config

    demo = DEMOS[data]
    dataset = open_dataset(data, derived=demo["derive"])
    guessed = guess(look(dataset.table()), demo["label"])
    text = starter_config(demo["name"], data, guessed, demo, dataset.rows)
    settings = yaml.safe_load(text)
    if split == "hash":
        settings["data"].pop("split", None)
    config = config_module.parse(settings)
    dataset = open_dataset(
        data,
        derived=config.data.derive,
        kinds={**config.features, config.task.label: "label"},
    )
    splitter = plan(dataset, config.data.split)
    parts: dict[str, list] = {name: [] for name in SPLITS}
    for batch in dataset.batches():
        assigned = np.asarray(splitter.assign(batch))
        for index, name in enumerate(SPLITS):
            picked = np.flatnonzero(assigned == index)
            parts[name].append(batch.take(picked))
    categorical = tuple(n for n, kind in config.kinds.items() if kind == "categorical")
    statistics = compute(
        (as_lists(batch) for batch in parts["train"]),
        StatisticsOptions(categorical_integers=categorical),
    )
    spec = build_spec(statistics, config.kinds, config.task, config.preprocessing)
    return config, spec, {name: preprocess(spec, batches) for name, batches in parts.items()}


def as_lists(batch):
    """Columns as lists of at most one value, as statistics take them."""
    import pyarrow as pa

    columns = []
    for column in batch.columns:
        valid = np.asarray(column.is_valid())
        offsets = np.concatenate([[0], np.cumsum(valid)]).astype(np.int32)
        mask = np.concatenate([~valid, [False]])
        columns.append(pa.ListArray.from_arrays(pa.array(offsets, mask=mask), column.drop_null()))
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def one_seed(config, spec, rows, seed: int) -> dict[str, dict[str, float]]:
    """Metrics on test of each network."""
    from models import reference, teachers
    from models.student import USUAL_TEACHER_EPOCHS, distill, measure, train

    train_rows, eval_rows = rows["train"], rows["eval"]
    shape = config.teacher.for_rows(len(train_rows))
    teacher = train(
        spec,
        train_rows,
        eval_rows,
        shape,
        name="teacher",
        usual_epochs=USUAL_TEACHER_EPOCHS,
        seed=seed,
    ).network
    lesson = teachers.prepare(
        spec,
        teacher,
        shape,
        reference.fit(spec, train_rows, seed=seed),
        train_rows,
        eval_rows,
        config.distillation,
        seed=seed,
    )
    students = distill(
        spec, lesson, train_rows, eval_rows, config.student, config.distillation, seed=seed
    )
    networks = (teacher, *(trained.network for trained in students.values()))
    return {
        name: measure(network, spec, rows["test"])
        for name, network in zip(NAMES, networks, strict=True)
    }


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and the 95 % interval of the mean."""
    mean = float(np.mean(values))
    half = (
        float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)) if len(values) > 1 else 0.0
    )
    return mean, mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="demo:chicago-taxi")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--split", choices=("time", "hash"), default="time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        config, spec, rows = prepare(arguments.data, arguments.split, pathlib.Path(scratch))
    sizes = ", ".join(f"{name} {len(part):,}" for name, part in rows.items())
    print(f"{arguments.data} by {arguments.split}: {sizes}")
    print("AUC on test   " + "  ".join(f"{name:>15}" for name in NAMES))
    seeds = []
    for seed in range(arguments.seeds):
        seeds.append(one_seed(config, spec, rows, seed))
        print(
            f"seed {seed:<9}" + "  ".join(f"{seeds[-1][name]['auc']:>15.4f}" for name in NAMES),
            flush=True,
        )
    gains = {}
    for control in ("control", "control_dropout"):
        differences = [s["distilled"]["auc"] - s[control]["auc"] for s in seeds]
        gains[control] = interval(differences)
        mean, low, high = gains[control]
        print(f"distilled - {control:<16} {mean:+.4f}  (95 % interval {low:+.4f} to {high:+.4f})")
    target = ROOT / "benchmarks" / "results" / "distillation.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(
        json.dumps({"arguments": vars(arguments), "seeds": seeds, "gains": gains}, indent=1)
    )
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
