"""User stories: what `flywheel run` and its neighbours do, as whole pipelines on real data."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import datasets

from custom_components.example_gen.demo import find_demo
from tests.conftest import ROOT, Flywheel, children

pytestmark = pytest.mark.slow


def edit(command: Flywheel, **settings) -> None:
    """Changes top-level keys of flywheel.yaml; dicts are merged."""
    path = command.folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text())
    for key, value in settings.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def codes(result: dict) -> set[str]:
    return {reason["code"] for reason in result["reasons"]}


# --- the first run -------------------------------------------------------------------------


def test_the_demo_pushes_a_small_model_that_is_nearly_as_good_as_its_teacher(taxi):
    command, result = taxi
    assert result["state"] == "pushed"
    shipped, teacher = result["metrics"]["shipped"], result["metrics"]["teacher"]
    assert shipped["auc"] >= 0.93
    assert teacher["auc"] - shipped["auc"] <= 0.005
    [variant] = [v for v in result["variants"] if v["state"] == "shipped"]
    path = pathlib.Path(result["pushed"]["path"]) / "model.tflite"
    assert path.stat().st_size == variant["bytes"] <= 30_000
    report = json.loads(artifact(command, "TFLiteQuantizer.variants", "variants.json").read_text())
    assert variant["bytes"] * 4 <= report["teacher"]["bytes"]
    memory = json.loads((pathlib.Path(result["report"]).parent / "memory.json").read_text())
    assert set(memory) == set(result["seconds"]["components"])
    assert all(1e8 < held < 16e9 for held in memory.values())


def test_the_result_has_the_documented_shape(taxi):
    _, result = taxi
    assert {"run_id", "state", "reasons", "seconds", "rows", "metrics", "variants", "pushed",
            "report"} <= set(result)  # fmt: skip
    assert sum(result["rows"].values()) == 15_002
    assert set(result["rows"]) == {"train", "eval", "test"}
    assert {"teacher", "student", "shipped"} <= set(result["metrics"])
    assert set(result["seconds"]["components"]) >= {"ExampleGen", "Trainer", "Pusher"}
    for variant in result["variants"]:
        assert {"name", "recipe", "bytes", "gzip_bytes", "metrics", "latency_us", "rows_per_s",
                "state", "reason"} <= set(variant)  # fmt: skip
        assert variant["latency_us"]["p90"] >= variant["latency_us"]["p50"] > 0
        assert variant["reason"]
    assert "NO_BASELINE" in codes(result)
    assert pathlib.Path(result["report"]).stat().st_size > 10_000


def test_a_quiet_terminal(taxi):
    """Nothing of third parties reaches the user; their words are in the log."""
    command, result = taxi
    done = command("runs", "show", result["run_id"])
    assert "Warning" not in done.stdout + done.stderr
    assert "tensorflow" in (command.folder / result["log"]).read_text().lower()


def artifact(command: Flywheel, key: str, name: str = "") -> pathlib.Path:
    """A file of an artifact of the first run in the folder."""
    first = command.json("runs", "list")[-1]["run_id"]
    return pathlib.Path(command.json("runs", "show", first)["artifacts"][key]) / name


def test_our_lines_call_nothing_deprecated(taxi):
    """Warnings are on in this run: Python names the file and line that earned each."""
    _, result = taxi
    log = pathlib.Path(result["log"]).read_text("utf-8")
    warned = [line for line in log.splitlines() if re.match(r"\S+\.py:\d+: \w*Warning: ", line)]
    assert warned  # TensorFlow and TFX earn some among themselves
    # protobuf's native code charges whoever called its caller: this one is TFX's.
    warned = [line for line in warned if "label() is deprecated" not in line]
    ours = tuple(
        f"{ROOT}/{name}/" for name in ("models", "custom_components", "monitoring", "pipeline")
    )
    assert not [line for line in warned if line.startswith(ours)]


def test_tfdv_reads_statistics_schema_and_anomalies(taxi):
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.utils import anomalies_util

    command, result = taxi
    for split in ("train", "eval", "test"):
        statistics = tfdv.load_stats_binary(
            str(artifact(command, "StatisticsGen.statistics", f"Split-{split}/FeatureStats.pb"))
        )
        assert statistics.datasets[0].num_examples == result["rows"][split]
        anomalies = anomalies_util.load_anomalies_binary(
            str(artifact(command, "SchemaValidator.anomalies", f"Split-{split}/SchemaDiff.pb"))
        )
        assert anomalies.baseline.feature
    schema = tfdv.load_schema_text(str(artifact(command, "SchemaGen.schema", "schema.pbtxt")))
    assert {f.name for f in schema.feature} >= {"fare", "tips", "big_tipper", "payment_type"}


def test_tfma_reads_the_evaluation(taxi):
    import tensorflow_model_analysis as tfma

    command, result = taxi
    folder = str(artifact(command, "Evaluator.evaluation"))
    loaded = tfma.load_eval_result(folder, model_name="shipped")
    overall = dict(loaded.slicing_metrics)[()][""][""]
    assert overall["auc"]["doubleValue"] == pytest.approx(result["metrics"]["shipped"]["auc"])
    assert tfma.load_validation_result(folder).validation_ok


def test_tensorflow_loads_teacher_and_student_and_the_examples(taxi):
    import tensorflow as tf

    command, result = taxi
    records = [
        record.numpy()
        for record in tf.data.TFRecordDataset(
            [str(p) for p in artifact(command, "ExampleGen.examples", "Split-test").glob("*.gz")],
            "GZIP",
        )
    ]
    assert len(records) == result["rows"]["test"]
    for component in ("Trainer", "Distiller"):
        model = tf.saved_model.load(str(artifact(command, f"{component}.model", "Format-Serving")))
        answers = model.signatures["serving_default"](tf.constant(records[:50]))["probability"]
        assert answers.shape == (50, 1) and 0 <= float(tf.reduce_min(answers))


def test_predict_keeps_the_rows_and_their_order(taxi, tmp_path):
    command, _ = taxi
    frame = pd.read_csv(find_demo("demo:chicago-taxi")).head(300)
    frame.to_csv(tmp_path / "new.csv", index=False)
    result = command.json("predict", str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.csv"))
    out = pd.read_csv(tmp_path / "out.csv")
    assert result["rows"] == len(out) == 300
    np.testing.assert_allclose(out["fare"], frame["fare"])
    assert list(out.columns[-2:]) == ["prediction", "probability"]
    np.testing.assert_array_equal(out["prediction"] == 1, out["probability"] > 0.5)
    command("predict", str(tmp_path / "new.csv"), "-o", str(tmp_path / "out.parquet"))
    np.testing.assert_allclose(
        pd.read_parquet(tmp_path / "out.parquet")["probability"], out["probability"], atol=1e-6
    )


def test_predict_refuses_a_table_that_lacks_a_feature(taxi, tmp_path):
    command, _ = taxi
    frame = pd.read_csv(find_demo("demo:chicago-taxi")).head(60)
    frame.rename(columns={"fare": "fares"}).to_csv(tmp_path / "new.csv", index=False)
    output = tmp_path / "out.csv"
    done = command("predict", str(tmp_path / "new.csv"), "-o", str(output), check=3)
    assert "COLUMN_MISSING" in done.stderr and "fares" in done.stderr
    assert not output.exists() and "Traceback" not in done.stderr


def test_models_are_listed_shown_and_verified(taxi):
    command, result = taxi
    version = result["pushed"]["version"]
    assert version in [v["name"] for v in command.json("models", "list")]
    shown = command.json("models", "show", version[:6])
    assert shown["run_id"] == result["run_id"] and shown["inputs"]["payment_type"] == "string"
    assert command.json("models", "verify", version)["requests"] == 20


# --- further runs --------------------------------------------------------------------------


def test_an_unchanged_run_reuses_everything_and_pushes_the_same_version(taxi):
    command, first = taxi
    again = command.json("run", "--force")
    assert again["state"] == "pushed"
    assert again["pushed"] == {**first["pushed"], "new": False}
    reused = {name for name, state in again["components"].items() if state == "cached"}
    # The deployed model is new since: what looks at it runs again, and nothing else.
    assert reused == {
        "ExampleGen", "StatisticsGen", "SchemaGen", "Trainer", "Distiller", "TFLiteQuantizer",
    }  # fmt: skip
    assert again["metrics"]["champion"] == pytest.approx(first["metrics"]["shipped"])
    assert "NO_BASELINE" not in codes(again)
    changes = command.json("runs", "compare", first["run_id"], again["run_id"])["differences"]
    assert all(row["key"].startswith("metrics.champion") for row in changes)


def test_when_nothing_changed_nothing_is_done(taxi):
    command, first = taxi
    runs = len(command.json("runs", "list"))
    again = command.json("run")
    assert again["unchanged"] and again["pushed"]["version"] == first["pushed"]["version"]
    assert "--force" in command("run").stderr
    assert len(command.json("runs", "list")) == runs


def test_a_threshold_that_does_not_hold_is_not_blessed_and_leaves_the_deployed_model(taxi):
    command, first = taxi
    before = (command.folder / "flywheel.yaml").read_text()
    try:
        edit(command, evaluation={"thresholds": {"auc": 0.99}})
        result = command.json("run", check=4)
    finally:
        (command.folder / "flywheel.yaml").write_text(before)
    assert result["state"] == "not_blessed" and result["pushed"] is None
    [reason] = [r for r in result["reasons"] if r["severity"] == "block"]
    assert reason["code"] == "BELOW_BOUND" and "0.99" in reason["message"] and reason["next"]
    assert result["components"]["Trainer"] == "cached"
    assert command.json("models", "list")[0]["name"] == first["pushed"]["version"]


def test_data_that_lost_a_column_is_blocked_before_training(taxi, tmp_path):
    command, first = taxi
    frame = pd.read_csv(find_demo("demo:chicago-taxi"))
    broken = tmp_path / "broken.csv"
    # Named in the config as ignored, so only the baseline's schema knows it was there.
    frame.drop(columns=["pickup_census_tract", "dropoff_census_tract"]).assign(
        payment_type="Barter"
    ).to_csv(broken, index=False)
    before = (command.folder / "flywheel.yaml").read_text()
    try:
        edit(command, validation={"policy": {"DRIFT_CATEGORICAL": "block"}})
        result = command.json("run", "--data", str(broken), check=3)
    finally:
        (command.folder / "flywheel.yaml").write_text(before)
    assert result["state"] == "blocked_by_data" and "Trainer" not in result["components"]
    assert {"COLUMN_MISSING", "DRIFT_CATEGORICAL"} & codes(result)
    assert all(r["next"] for r in result["reasons"] if r["severity"] == "block")
    assert command.json("models", "list")[0]["name"] == first["pushed"]["version"]


# --- other tables --------------------------------------------------------------------------

TABLES = {
    "iris": ("multiclass", {"accuracy": 0.85}),
    "breast_cancer": ("binary", {"auc": 0.95}),
    "diabetes": ("regression", {"r2": 0.3}),
    "digits": ("multiclass", {"accuracy": 0.93}),
}


@pytest.mark.parametrize("name", TABLES)
def test_init_and_run_need_no_editing(name, flywheel):
    task, least = TABLES[name]
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame.to_csv(flywheel.folder / f"{name}.csv", index=False)
    start = flywheel.json("init", f"{name}.csv")
    assert (start["label"], start["task"]) == ("target", task)
    result = flywheel.json("run")
    assert result["state"] == "pushed"
    for metric, value in least.items():
        assert result["metrics"]["shipped"][metric] >= value
    flywheel("predict", f"{name}.csv", "-o", "out.csv")
    with open(flywheel.folder / "out.csv", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    assert "prediction" in columns
    if task == "multiclass":
        assert [c for c in columns if c.startswith("probability_")]


def test_text_labels_many_categories_and_few_rows(flywheel):
    rng = np.random.default_rng(0)
    city = [f"city {i}" for i in rng.integers(0, 40, 150)]
    x = rng.normal(size=150)
    frame = pd.DataFrame({
        "city": city, "größe (m)": x, "when": rng.integers(0, 5, 150),
        "outcome": np.where(x + 0.3 * rng.normal(size=150) > 0, "ja", "nein"),
    })  # fmt: skip
    frame.loc[::7, "city"] = None
    frame.loc[::5, "größe (m)"] = np.nan
    frame.to_csv(flywheel.folder / "t.csv", index=False)
    flywheel("init", "t.csv")
    result = flywheel.json("run", check=None)
    assert result["state"] in ("pushed", "not_blessed")
    assert result["metrics"]["shipped"]["auc"] > 0.6


# --- what goes wrong -----------------------------------------------------------------------


def small_table(folder: pathlib.Path, **columns) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    table = {"x": x, "s": rng.choice(["a", "b"], 400), "y": (x > 0).astype(int), **columns}
    pd.DataFrame(table).to_csv(folder / "t.csv", index=False)
    (folder / "flywheel.yaml").write_text(
        "name: t\ndata: {path: t.csv}\ntask: {label: y, type: binary}\n"
        "features: {x: numeric, s: categorical}\n"
    )


@pytest.mark.parametrize(
    ("columns", "code"),
    [({"y": 1}, "LABEL_UNUSABLE"), ({"y": None}, "LABEL_UNUSABLE")],
)
def test_a_label_that_cannot_be_learnt_blocks(columns, code, flywheel):
    small_table(flywheel.folder, **columns)
    result = flywheel.json("run", check=3)
    assert result["state"] == "blocked_by_data" and code in codes(result)
    assert "Trainer" not in result["components"]


def test_fewer_than_fifty_rows_block(flywheel):
    small_table(flywheel.folder)
    lines = (flywheel.folder / "t.csv").read_text().splitlines()[:45]
    (flywheel.folder / "t.csv").write_text("\n".join(lines) + "\n")
    result = flywheel.json("run", check=3)
    assert result["state"] == "blocked_by_data" and "TOO_FEW_ROWS" in codes(result)


def test_a_full_disk_is_said_and_touches_nothing_deployed(flywheel, tmp_path_factory):
    small = tmp_path_factory.mktemp("small")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(small)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted as root")
    try:
        small_table(flywheel.folder)
        edit(flywheel, root=str(small / "runs"))
        result = flywheel.json("run", check=1)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    assert result["state"] == "failed" and "DISK_FULL" in codes(result)
    assert not (flywheel.folder / "deployed").exists()


def test_an_interrupted_run_goes_on_where_it_stopped(flywheel):
    small_table(flywheel.folder)
    process = start(flywheel)
    events = wait_for_event(flywheel.folder, "Trainer")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    result = json.loads(out.splitlines()[-1])
    assert codes(result) >= {"INTERRUPTED"} and "`flywheel run`" in err
    assert events and not (flywheel.folder / "deployed").exists()
    again = flywheel.json("run", check=None)
    assert again["state"] in ("pushed", "not_blessed")
    assert again["components"]["StatisticsGen"] == "cached"


def test_a_worker_that_is_killed_is_an_error_and_the_next_run_completes(flywheel):
    small_table(flywheel.folder)
    temporary = pathlib.Path(tempfile.mkdtemp())
    process = start(flywheel, TMPDIR=str(temporary))
    wait_for_event(flywheel.folder, "Distiller")
    for child in children(process.pid):
        os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err
    assert codes(json.loads(out.splitlines()[-1])) == {"WORKER_DIED"}
    again = flywheel.json("run", check=None, TMPDIR=str(temporary))
    assert again["state"] in ("pushed", "not_blessed")
    assert again["components"]["Trainer"] == "cached"
    temporary.rmdir()  # it is empty: nothing outlives a run, killed or not


def test_two_runs_at_once_the_second_is_told(flywheel):
    small_table(flywheel.folder)
    process = start(flywheel)
    try:
        wait_for_event(flywheel.folder, "ExampleGen")
        result = flywheel.json("run", check=1)
        assert codes(result) == {"ALREADY_RUNNING"}
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def start(command: Flywheel, **environment: str) -> subprocess.Popen[str]:
    """`flywheel run --json` in the background, open to Ctrl-C whatever started the tests."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", "--json"],
        cwd=command.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for_event(folder: pathlib.Path, component: str, seconds: float = 180) -> bool:
    """Waits until a component runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for path in folder.glob(".flywheel/runs/*/events.jsonl"):
            if f'"name": "{component}", "state": "running"' in path.read_text():
                return True
        time.sleep(0.05)
    raise AssertionError(f"{component} did not start")
