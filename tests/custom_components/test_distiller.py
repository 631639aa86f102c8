"""The Distiller on real artifacts: its defaults, every option at once, and what it says."""

from __future__ import annotations

import dataclasses
import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from custom_components.distiller import extra, verdict
from custom_components.distiller.executor import REPORT_FILE, Executor
from custom_components.example_gen.encode import encode
from models import bundle
from models.gain import Gain, over_seeds
from models.options import DistillationOptions, SearchOptions, StudentOptions, TaskOptions
from models.options import TeacherOptions as Shape
from models.rows import preprocess
from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from models.student import answers, labels_of, loss_of, train
from models.training import predict_logits

ROWS = 1500
FEATURES = {
    "numeric": (
        NumericFeature("a", 0.0, -9.0, 9.0, 0.0, 1.0),
        NumericFeature("b", 0.0, -9.0, 9.0, 0.0, 1.0),
    ),
    "categorical": (CategoricalFeature("word", "string", ("x", "y", "z")),),
}
SPECS = {
    "binary": ModelSpec("binary", "t", ("no", "yes"), **FEATURES),
    "multiclass": ModelSpec("multiclass", "t", ("few", "many", "some"), **FEATURES),
    "regression": ModelSpec("regression", "t", (), **FEATURES, target_mean=1.0, target_std=2.0),
}
SHAPE = Shape(epochs=8, hidden=(32, 16), frequencies=0)


def table(task: str, seed: int, rows: int = ROWS) -> pa.RecordBatch:
    """The answer hangs on an interaction, the word, and whether `a` is missing."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    word = rng.choice(["x", "y", "z", "rare"], rows)
    missing = rng.random(rows) < 0.1
    score = 2 * a * b * ~missing + (word == "x") - (word == "y") + missing
    score += 0.5 * rng.normal(size=rows)
    labels = {
        "binary": np.where(score > 0, "yes", "no"),
        "multiclass": np.array(["few", "some", "many"])[np.digitize(score, [-0.7, 0.9])],
        "regression": score,
    }[task]
    columns = {
        "a": pa.array(a, mask=missing),
        "b": pa.array(b),
        "word": pa.array(word.tolist(), mask=rng.random(rows) < 0.05),
        "t": pa.array(labels.tolist()),
    }
    return pa.RecordBatch.from_pydict(columns)


@dataclasses.dataclass
class Workshop:
    """Examples and a teacher on disk, as the components before leave them."""

    folder: str
    task: str

    def run(self, name: str, student=None, seed: int = 0, weights: str = "none", **options) -> dict:
        outputs = {
            "model": artifact(standard_artifacts.Model, self.folder / name / "model"),
            "model_run": artifact(standard_artifacts.ModelRun, self.folder / name / "run"),
        }
        examples = artifact(standard_artifacts.Examples, self.folder / "examples")
        examples[0].split_names = json.dumps(["train", "eval", "test"])
        teacher = artifact(standard_artifacts.Model, self.folder / "teacher")
        task = TaskOptions(label="t", type=self.task, class_weights=weights)
        Executor().Do(
            {"examples": examples, "teacher": teacher},
            outputs,
            {
                "task": task.model_dump_json(),
                "student": (student or StudentOptions(epochs=12)).model_dump_json(),
                "options": DistillationOptions(**options).model_dump_json(),
                "seed": seed,
            },
        )
        text = (self.folder / name / "run" / REPORT_FILE).read_text()
        return json.loads(text, parse_constant=lambda value: pytest.fail(f"{value} in the JSON"))

    def student(self, name: str):
        """The network that went on, with its logits and the rows of eval."""
        spec, shape, network = bundle.load(str(self.folder / name / "model"))
        rows = preprocess(spec, [table(self.task, 1)])
        return spec, shape, predict_logits(network, spec, rows), rows


def artifact(kind, uri):
    made = kind()
    made.uri = str(uri)
    return [made]


def make(folder, task: str, teach=True) -> Workshop:
    spec = SPECS[task]
    for seed, split in enumerate(("train", "eval", "test")):
        path = folder / "examples" / f"Split-{split}"
        path.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path / "data_tfrecord-00000-of-00001.gz"), "GZIP") as out:
            for record in encode(table(task, seed)).to_pylist():
                out.write(record)
    rows, valid = (preprocess(spec, [table(task, seed)]) for seed in (0, 1))
    if not teach:  # a teacher that learnt the contrary
        wrong = rows.labels.max() - rows.labels
        rows = dataclasses.replace(rows, labels=wrong)
    network = train(spec, rows, valid, SHAPE, name="teacher", usual_epochs=8).network
    if not teach:
        layer = network.get_layer("logits")
        layer.set_weights([10.0 * w for w in layer.get_weights()])
    bundle.save(str(folder / "teacher"), spec, SHAPE, network)
    return Workshop(folder, task)


@pytest.fixture(scope="module", params=list(SPECS))
def workshop(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return make(tmp_path_factory.mktemp("plain"), "binary")


def test_by_default_trees_are_trained_measured_and_compared(workshop):
    report = workshop.run("default")
    trees, metric = report["reference"], {"binary": "auc", "multiclass": "accuracy"}
    assert trees["rows"] == trees["rows_available"] == report["rows"]["train"] == ROWS
    assert set(trees["metrics"]) == set(report["teacher"]["metrics"])
    assert trees["metrics"][metric.get(workshop.task, "r2")] > 0.6
    assert set(trees["gain_over"]) == {"teacher", "shipped"}
    better = [g["state"] == "better" for g in trees["gain_over"].values()]
    assert any(better) == (trees["warning"] is not None)
    assert (trees["warning"] or "") in report["verdict"]
    losses = report["teachers"]["eval_loss"]
    assert set(losses) == {"network", "trees", "mean"}
    assert report["gate"]["teacher_eval_loss"] == min(losses.values())
    assert losses["trees"] == pytest.approx(trees["eval_loss"])
    assert losses["network"] == pytest.approx(report["teacher"]["eval_loss"])
    assert len(report["seeds"]) == 1 and report["search"] == []
    assert report["gain"]["control"]["interval"] == "rows"
    assert (report["calibration"] is None) == (workshop.task == "regression")


def test_what_goes_on_is_what_was_chosen_and_calibrated(workshop):
    report = workshop.run("default")
    spec, shape, logits, rows = workshop.student("default")
    assert shape.hidden == StudentOptions().hidden
    network = report["networks"][report["chosen"]]
    scored = network["metrics"]
    if spec.task == "regression":
        values = answers(spec, logits)[:, 0]
        rmse = np.sqrt(np.mean((values - labels_of(spec, rows)) ** 2))
        assert rmse == pytest.approx(scored["rmse"], rel=1e-4)
        return
    found = report["calibration"]
    temperature = found["temperature"] if found["applied"] else 1.0
    before = loss_of(spec, (logits * temperature).astype(np.float32), rows)
    assert before == pytest.approx(scored["log_loss"], rel=1e-4)
    assert loss_of(spec, logits, rows) <= before + 1e-6


def test_the_same_seed_gives_the_same_report(binary):
    assert binary.run("once") == binary.run("again")


def test_every_option_at_once(workshop, tmp_path):
    """Three teachers, extra rows, hints, temperature, a search, seeds, class weights."""
    extra = tmp_path / "extra.parquet"
    pq.write_table(pa.Table.from_batches([table(workshop.task, 5, 300)]).drop(["t"]), extra)
    student = StudentOptions(
        epochs=6,
        dropout=0.05,
        search=SearchOptions(embeddings=(2, 4), hidden=((2,), (8,)), first_epochs=2),
    )
    report = workshop.run(
        "everything",
        student,
        seed=3,
        weights="balanced",
        teachers=("network", "ensemble", "trees"),
        ensemble=2,
        seeds=3,
        hint=0.1,
        temperature=2.0,
        alpha=0.2,
        extra_data=str(extra),
    )
    assert report["rows"]["extra"] == 300
    assert set(report["teachers"]["eval_loss"]) == {"network", "ensemble", "trees", "mean"}
    assert [run["seed"] for run in report["seeds"]] == [3, 4, 5]
    gain = report["gain"]["control"]
    metric = gain["metric"]
    differences = [
        run["networks"]["distilled"]["metrics"][metric]
        - run["networks"]["control"]["metrics"][metric]
        for run in report["seeds"]
    ]
    assert gain["interval"] == "seeds" and gain["seeds"] == 3
    assert gain == over_seeds(metric, differences, ROWS).to_dict()
    [place] = [i for i, run in enumerate(report["seeds"]) if run["chosen"]]
    losses = [run["networks"][report["chosen"]]["eval_loss"] for run in report["seeds"]]
    assert place == int(np.argmin(losses))
    shipped = report["networks"][report["chosen"]]
    assert shipped["metrics"] == report["seeds"][place]["networks"][report["chosen"]]["metrics"]
    assert len(report["search"]) == 4
    [winner] = [c for c in report["search"] if c["chosen"]]
    assert report["student"] == {"embedding": winner["embedding"], "hidden": winner["hidden"]}
    assert winner["parameters"] == shipped["parameters"]
    _, shape, _, _ = workshop.student("everything")
    assert list(shape.hidden) == winner["hidden"] and shape.embedding == winner["embedding"]


@pytest.fixture
def logged(tmp_path) -> str:
    """The glob of a real prediction log of 400 answered requests, among others and labels."""
    from monitoring import log_rows, prediction_log

    asked = table("binary", 7, 420)
    ids = [f"r{i}" for i in range(420)]
    hours = [
        datetime.datetime(2026, 1, 2, i // 200, tzinfo=datetime.timezone.utc) for i in range(420)
    ]
    outcomes = ["ok"] * 400 + ["MISSING_FEATURE"] * 20
    kept = log_rows.rows(
        SPECS["binary"], "v1", asked, None, request_ids=ids, times=hours, outcomes=outcomes
    )
    prediction_log.write_rows(tmp_path / "log", kept, "writer-1")
    prediction_log.write_labels(tmp_path / "log", ids, ["yes"] * 420, hours[-1])
    return str(tmp_path / "log" / "**" / "*.parquet")


def test_a_prediction_log_is_read_as_the_rows_it_was_asked_about(logged):
    found = pa.Table.from_batches(extra.batches(logged))
    expected = pa.Table.from_batches([table("binary", 7, 420)]).slice(0, 400)
    assert found.column_names == ["a", "b", "word"]
    for name in found.column_names:
        assert found.column(name).to_pylist() == expected.column(name).to_pylist()


def test_the_teacher_labels_what_a_prediction_log_holds(binary, logged):
    report = binary.run("logged", extra_data=logged)
    assert report["rows"]["extra"] == 400
    without = binary.run("without")
    assert without["rows"]["extra"] == 0
    losses = [
        {name: found["eval_loss"] for name, found in one["seeds"][0]["networks"].items()}
        for one in (report, without)
    ]
    assert losses[0]["distilled"] != losses[1]["distilled"]  # they were learnt from
    assert losses[0]["control"] == losses[1]["control"]  # and not by what learns from labels


def test_other_extra_rows_are_read_as_a_table(tmp_path):
    path = tmp_path / "extra.csv"
    path.write_text("a,word,outcome\n1.5,x,won\n,y,lost\n")
    found = pa.Table.from_batches(extra.batches(str(path)))
    assert found.column("a").to_pylist() == [1.5, None]
    assert found.column("outcome").to_pylist() == ["won", "lost"]


def test_a_teacher_that_knows_nothing_is_not_learnt_from(tmp_path):
    """Alone its student does not go on; with trees beside it they label."""
    workshop = make(tmp_path, "binary", teach=False)
    report = workshop.run("alone", teachers=("network",))
    assert report["chosen"] == "control"
    assert report["gate"]["teacher_eval_loss"] >= report["gate"]["control_eval_loss"]
    assert report["verdict"].startswith("Distillation does not help here: the teacher's validation")
    assert report["reference"]["gain_over"]["teacher"]["state"] == "better"
    assert "A simpler model is better on eval" in report["verdict"]
    assert "the teacher by" in report["verdict"]
    report = workshop.run("trees")
    assert report["teachers"]["labels"] == ["trees"]


def gained(value: float, low: float, high: float, seeds: int = 1) -> Gain:
    return Gain("auc", value, low, high, "rows" if seeds == 1 else "seeds", seeds, 2251)


VALUES = {"distilled": 0.95, "control": 0.94, "control_dropout": 0.945}


def words(gain: Gain, dropout: Gain | None = None, teacher: float = 0.2) -> str:
    return verdict.distillation("binary", VALUES, gain, dropout or gain, teacher, 0.21)


def test_verdicts_say_helps_hurts_or_unclear_with_the_interval():
    better, worse = gained(0.01, 0.004, 0.016), gained(-0.01, -0.02, -0.004)
    unclear = gained(0.01, -0.001, 0.02)
    assert words(better).startswith(
        "Distillation helps here, by +0.0100 (95 % interval +0.0040 to +0.0160, paired "
        "over 2,251 eval rows) auc. auc on eval: distilled 0.9500"
    )
    assert "Dropout alone may give as much: over it the gain is +0.0100" in words(better, unclear)
    assert words(worse).startswith("Distillation does not help here: -0.0100 (95 % interval")
    assert words(unclear).startswith("Whether distillation helps here cannot be told from one seed")
    assert "cannot be told from 4 seeds" in words(gained(0.01, -0.001, 0.02, 4))
    assert "Student's t over 5 seeds" in words(gained(0.01, 0.001, 0.02, 5))
    assert "no better than that of the same student" in words(better, teacher=0.22)


@pytest.mark.parametrize(
    ("gain", "teacher", "goes_on"),
    [
        (gained(0.01, 0.004, 0.016), 0.20, True),
        (gained(0.01, -0.004, 0.016), 0.20, True),
        (gained(0.01, 0.004, 0.016), 0.21, False),
        (gained(-0.01, -0.016, -0.004), 0.20, False),
        (Gain("auc", None, None, None, "rows", 1, 9), 0.20, True),
    ],
)
def test_the_student_goes_on_if_there_is_something_to_learn_and_nothing_was_lost(
    gain, teacher, goes_on
):
    assert verdict.chooses_distilled(teacher, 0.21, gain) is goes_on


def test_trees_are_only_spoken_of_where_they_win():
    better, unclear = gained(0.01, 0.004, 0.016), gained(0.01, -0.004, 0.016)
    assert verdict.reference("binary", unclear, unclear) is None
    said = verdict.reference("binary", unclear, better)
    assert "the student that goes on by +0.0100" in said and "the teacher" not in said
    assert "the teacher by" in verdict.reference("binary", better, better)
