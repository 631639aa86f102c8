"""The SchemaValidator on real TFDV statistics: each reason is met, and each is not."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.utils.anomalies_util import load_anomalies_binary
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from custom_components.schema_validator import executor
from custom_components.schema_validator.component import SchemaValidator
from custom_components.schema_validator.options import DEFAULT_POLICY, ValidationOptions
from custom_components.schema_validator.verdict import Verdict
from models.errors import ConfigError, Reason
from models.options import TaskOptions

SPLITS = {"train": 0.7, "eval": 0.15, "test": 0.15}
TASK = TaskOptions(label="big_tipper", type="binary")
KINDS = {
    "fare": "numeric",
    "seconds": "numeric",
    "hour": "categorical",
    "payment": "categorical",
    "company": "categorical",
    "note": "ignore",
    "big_tipper": "categorical",
}
VERSION = "3f2a9c04d1e7b655"


def trips(rows: int = 2_000, seed: int = 0) -> pd.DataFrame:
    """Something like taxi trips."""
    rng = np.random.default_rng(seed)
    company = pd.Series(rng.choice(["Red", "Blue", "Green"], rows, p=[0.5, 0.3, 0.2]))
    return pd.DataFrame(
        {
            "fare": rng.lognormal(2.2, 0.6, rows).round(2).astype("float32"),
            "seconds": rng.gamma(2, 400, rows).astype(int),
            "hour": rng.integers(0, 24, rows),
            "payment": rng.choice(["Cash", "Card", "Unknown"], rows, p=[0.6, 0.35, 0.05]),
            "company": company.mask(rng.random(rows) < 0.3),
            "note": rng.choice(["x", "y"], rows),
            "big_tipper": (rng.random(rows) < 0.3).astype(int),
        }
    )


def split(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    ends = np.cumsum([0, *(round(share * len(frame)) for share in SPLITS.values())])
    ends[-1] = len(frame)
    return {
        name: frame.iloc[start:end].reset_index(drop=True)
        for name, start, end in zip(SPLITS, ends, ends[1:], strict=False)
    }


def statistics(frame: pd.DataFrame, kinds=KINDS):
    schema = schema_pb2.Schema()
    for name in frame:
        if kinds.get(name) == "categorical" and frame[name].dtype.kind == "i":
            schema.feature.add(name=name, type=schema_pb2.INT).int_domain.is_categorical = True
    options = tfdv.StatsOptions(
        schema=schema if schema.feature else None,
        num_top_values=50_000,
        num_rank_histogram_buckets=50_000,
        num_quantiles_histogram_buckets=100,
    )
    return tfdv.generate_statistics_from_dataframe(frame, options)


class Run:
    """One execution in a folder, and what it published."""

    def __init__(
        self,
        folder: pathlib.Path,
        data: pd.DataFrame | dict[str, pd.DataFrame],
        deployed: pd.DataFrame | None = None,
        curated: schema_pb2.Schema | None = None,
        task: TaskOptions = TASK,
        kinds: dict[str, str] = KINDS,
        properties: dict[str, int] | None = None,
        present: int | None = 1,
        **options,
    ):
        frames = data if isinstance(data, dict) else split(data)
        folder.mkdir(parents=True, exist_ok=True)
        protos = {name: statistics(frame, kinds) for name, frame in frames.items()}
        schema = curated or tfdv.infer_schema(protos["train"])
        inputs = {
            "statistics": [_statistics(folder / "statistics", protos)],
            "schema": [_schema(folder / "schema", schema)],
        }
        if properties is not None:
            examples = standard_artifacts.Examples()
            examples.uri = str(folder / "examples")
            for key, value in properties.items():
                examples.set_int_custom_property(key, value)
            inputs["examples"] = [examples]
        if deployed is not None:
            old = statistics(split(deployed)["train"], kinds)
            inputs["deployed_statistics"] = [_statistics(folder / "old", {"train": old})]
            inputs["deployed_schema"] = [_schema(folder / "old_schema", tfdv.infer_schema(old))]
            for artifact in (*inputs["deployed_statistics"], *inputs["deployed_schema"]):
                if present is not None:
                    artifact.set_int_custom_property("present", present)
                artifact.set_string_custom_property("version", VERSION)
        self.output = standard_artifacts.ExampleAnomalies()
        self.output.uri = str(folder / "anomalies")
        executor.Executor().Do(
            inputs,
            {"anomalies": [self.output]},
            {
                "options": ValidationOptions(**options).model_dump_json(),
                "task": task.model_dump_json(),
                "kinds": json.dumps(kinds),
                "curated": int(curated is not None),
            },
        )
        self.verdict = Verdict.load(self.output.uri)
        self.reasons = {reason.code: reason for reason in self.verdict.reasons}

    @property
    def judged(self) -> set[str]:
        """Codes that warn or block."""
        return {reason.code for reason in self.verdict.reasons if reason.severity != "info"}

    def anomalies(self, name: str) -> anomalies_pb2.Anomalies:
        path = pathlib.Path(self.output.uri) / f"Split-{name}" / "SchemaDiff.pb"
        return load_anomalies_binary(str(path))


def _statistics(folder: pathlib.Path, protos) -> standard_artifacts.ExampleStatistics:
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(list(protos))
    for name, proto in protos.items():
        path = folder / f"Split-{name}" / "FeatureStats.pb"
        io_utils.write_bytes_file(str(path), proto.SerializeToString())
    return artifact


def _schema(folder: pathlib.Path, schema: schema_pb2.Schema) -> standard_artifacts.Schema:
    artifact = standard_artifacts.Schema()
    artifact.uri = str(folder)
    io_utils.write_pbtxt_file(str(folder / "schema.pbtxt"), schema)
    return artifact


@pytest.fixture(scope="module")
def curated() -> schema_pb2.Schema:
    return tfdv.infer_schema(statistics(trips(seed=1)))


def replaced(frame: pd.DataFrame, column: str, value, share: float) -> pd.DataFrame:
    """The frame with every 1/share-th cell of a column replaced."""
    cells = frame[column].astype(object)
    cells[np.arange(len(frame)) % round(1 / share) == 0] = value
    return frame.assign(**{column: cells})


class TestPassing:
    def test_the_first_run_says_that_there_is_no_baseline(self, tmp_path):
        run = Run(tmp_path, trips())
        assert run.verdict.state == "passed" and not run.verdict.blocked
        assert run.verdict.baseline is None and run.verdict.drift == ()
        assert [reason.code for reason in run.verdict.reasons] == ["NO_BASELINE"]
        assert run.reasons["NO_BASELINE"].severity == "info"
        assert run.verdict.rows == {"read": 2_000, "train": 1_400, "eval": 300, "test": 300}
        assert run.output.get_string_custom_property("state") == "passed"
        assert run.output.get_int_custom_property("blocked") == 0

    def test_more_of_the_same_passes(self, tmp_path):
        run = Run(tmp_path, trips(seed=2), deployed=trips(seed=3))
        assert run.verdict.state == "passed" and run.verdict.reasons == ()
        assert run.verdict.baseline == VERSION
        features = {drift["feature"] for drift in run.verdict.drift}
        assert features == set(KINDS) - {"note"}
        for drift in run.verdict.drift:
            assert not drift["drifted"]
            assert sum(drift["reference"]) == pytest.approx(1)
            assert len(drift["labels"]) == len(drift["current"])

    def test_nothing_deployed_yet_is_told_by_the_property(self, tmp_path):
        run = Run(tmp_path, trips(), deployed=trips(), present=0)
        assert run.verdict.baseline is None and "NO_BASELINE" in run.reasons

    def test_other_pipelines_need_not_set_it(self, tmp_path):
        run = Run(tmp_path, trips(), deployed=trips(), present=None)
        assert run.verdict.baseline == VERSION

    def test_stock_tools_read_the_anomalies(self, tmp_path):
        run = Run(tmp_path, trips(seed=2), deployed=trips(seed=3))
        assert artifact_utils.decode_split_names(run.output.split_names) == list(SPLITS)
        for name in SPLITS:
            assert not run.anomalies(name).anomaly_info
        assert len(tfdv.utils.display_util.get_anomalies_dataframe(run.anomalies("train"))) == 0
        values = {
            info.path.step[0]: info.drift_measurements[0]
            for info in run.anomalies("train").drift_skew_info
        }
        assert values.keys() == {"hour", "payment", "company", "big_tipper"}
        ours = {drift["feature"]: drift for drift in run.verdict.drift}
        assert values["payment"].value == pytest.approx(ours["payment"]["linf"], abs=1e-6)
        assert values["payment"].threshold == pytest.approx(0.1)


class TestColumns:
    def test_missing(self, tmp_path, curated):
        run = Run(tmp_path, trips().drop(columns="fare"), deployed=trips(seed=3))
        reason = run.reasons["COLUMN_MISSING"]
        assert run.verdict.blocked and run.output.get_int_custom_property("blocked") == 1
        assert reason.message == (
            "`fare` was there when version 3f2a9c04d1e7… was trained and is not there now."
        )
        assert "features: {fare: ignore}" in reason.next
        assert reason.cases == (
            {"feature": "fare", "expected": "a number", "found": "no such column"},
        )

    def test_missing_by_a_curated_schema(self, tmp_path, curated):
        run = Run(tmp_path, trips().drop(columns="fare"), curated=curated)
        assert run.judged == {"COLUMN_MISSING"}
        assert "curated schema" in run.reasons["COLUMN_MISSING"].message

    def test_missing_by_the_config(self, tmp_path):
        run = Run(tmp_path, trips(), kinds={**KINDS, "weather": "categorical"})
        assert run.judged == {"COLUMN_MISSING"}
        assert "The config names `weather`" in run.reasons["COLUMN_MISSING"].message

    def test_empty_is_missing(self, tmp_path):
        data = trips()
        run = Run(tmp_path, data.assign(fare=np.nan), deployed=trips(seed=3))
        assert run.judged >= {"COLUMN_MISSING"} and "TYPE_CHANGED" not in run.reasons
        assert run.reasons["COLUMN_MISSING"].message == "`fare` is empty in all 2,000 rows."

    def test_missing_and_ignored_is_told_and_not_judged(self, tmp_path):
        run = Run(tmp_path, trips().drop(columns="note"), deployed=trips(seed=3))
        assert run.reasons["COLUMN_MISSING"].severity == "info"
        assert run.verdict.state == "passed"

    def test_several_share_one_reason(self, tmp_path):
        run = Run(tmp_path, trips().drop(columns=["fare", "hour"]), deployed=trips(seed=3))
        reason = run.reasons["COLUMN_MISSING"]
        assert reason.message.startswith("2 columns are missing: `fare`, `hour`.")
        assert [case["feature"] for case in reason.cases] == ["fare", "hour"]

    def test_new(self, tmp_path, curated):
        data = trips().assign(weather="rain")
        run = Run(tmp_path, data, deployed=trips(seed=3))
        assert run.judged == {"COLUMN_NEW"} and run.verdict.state == "warned"
        assert "`weather` (text) is in the data" in run.reasons["COLUMN_NEW"].message
        for kind in ("ignore", "categorical"):  # the config knows it
            kinds = {**KINDS, "weather": kind}
            again = Run(tmp_path / kind, data, deployed=trips(seed=3), kinds=kinds)
            assert again.judged == set() and "COLUMN_NEW" in again.reasons
        against = Run(tmp_path / "curated", data, curated=curated, kinds=kinds)
        assert against.judged == {"COLUMN_NEW"}

    def test_columns_the_config_does_not_name_are_not_judged(self, tmp_path):
        kinds = {name: kind for name, kind in KINDS.items() if name != "note"}
        data = replaced(trips(), "note", "z", 0.5)
        run = Run(tmp_path, data, deployed=trips(seed=3), kinds=kinds)
        assert run.judged == set()
        assert run.reasons["DOMAIN_UNEXPECTED_VALUES"].severity == "info"
        run = Run(tmp_path / "2", data.drop(columns="note"), deployed=trips(seed=3), kinds=kinds)
        assert run.judged == set() and "COLUMN_MISSING" in run.reasons

    @pytest.mark.parametrize(
        ("before", "now", "evidence"),
        [
            ("seconds", "duration", "the same distribution"),
            ("fare", "Fare_", "similar names"),
            ("company", "company_name", "the same distribution"),
        ],
    )
    def test_renamed(self, tmp_path, before, now, evidence):
        data = trips().rename(columns={before: now})
        run = Run(tmp_path, data, deployed=trips(seed=3))
        assert run.judged == {"COLUMN_RENAMED"} and run.verdict.blocked
        reason = run.reasons["COLUMN_RENAMED"]
        assert reason.cases[0]["feature"] == before and reason.cases[0]["found"] == now
        assert evidence in reason.message and "\n" not in reason.message

    def test_renamed_by_a_curated_schema(self, tmp_path, curated):
        run = Run(tmp_path, trips().rename(columns={"payment": "means"}), curated=curated)
        assert run.judged == {"COLUMN_RENAMED"}
        assert "in the domain of the missing one" in run.reasons["COLUMN_RENAMED"].message

    def test_one_gone_and_another_one_new_is_no_rename(self, tmp_path):
        rng = np.random.default_rng(4)
        data = trips().drop(columns="fare").assign(humidity=rng.random(2_000), flag=1)
        run = Run(tmp_path, data, deployed=trips(seed=3))
        assert run.judged == {"COLUMN_MISSING", "COLUMN_NEW"}


class TestTypes:
    def test_numbers_that_became_text(self, tmp_path):
        data = trips()
        text = data["fare"].map("{:.2f}".format)
        text[[5, 50, 500]] = "12,45"
        run = Run(tmp_path, data.assign(fare=text), deployed=trips(seed=3))
        assert run.judged == {"TYPE_CHANGED"} and run.verdict.blocked
        reason = run.reasons["TYPE_CHANGED"]
        assert reason.message == (
            "`fare` was a number when version 3f2a9c04d1e7… was trained and is text now "
            "(3 of 2,000 values cannot be read as numbers, e.g. '12,45')."
        )
        assert "decimal point" in reason.next
        assert reason.cases[0]["value"] == "12,45" and reason.cases[0]["rows"] == 3

    def test_text_that_became_numbers(self, tmp_path, curated):
        run = Run(tmp_path, trips().assign(payment=np.arange(2_000) % 3), curated=curated)
        assert run.judged == {"TYPE_CHANGED"}
        assert "is text in the curated schema and is a whole number" in (
            run.reasons["TYPE_CHANGED"].message
        )

    def test_whole_numbers_that_became_reals(self, tmp_path):
        data = trips()
        as_real = {name: data[name].astype("float32") for name in ("seconds", "hour")}
        run = Run(tmp_path, data.assign(seconds=as_real["seconds"]), deployed=trips(seed=3))
        assert run.judged == set() and run.reasons["TYPE_CHANGED"].severity == "info"
        run = Run(tmp_path / "2", data.assign(hour=as_real["hour"]), deployed=trips(seed=3))
        assert "TYPE_CHANGED" in run.judged


class TestValues:
    def test_unexpected_text(self, tmp_path, curated):
        run = Run(tmp_path, replaced(trips(), "payment", "Coin", 0.02), curated=curated)
        assert run.judged == {"DOMAIN_UNEXPECTED_VALUES"} and run.verdict.state == "warned"
        reason = run.reasons["DOMAIN_UNEXPECTED_VALUES"]
        assert "'Coin'" in reason.message and "2.0 %" in reason.message
        assert reason.cases[0] == {
            "feature": "payment",
            "expected": "'Card', 'Cash', 'Unknown'",
            "found": "Coin",
            "rows": 40,
        }

    def test_unexpected_whole_numbers(self, tmp_path, curated):
        data = replaced(trips(), "hour", 24, 0.05).astype({"hour": int})
        run = Run(tmp_path, data, curated=curated)
        assert run.judged == {"DOMAIN_UNEXPECTED_VALUES"}
        assert run.reasons["DOMAIN_UNEXPECTED_VALUES"].cases[0]["found"] == "24"

    def test_out_of_a_curated_range(self, tmp_path, curated):
        strict = schema_pb2.Schema()
        strict.CopyFrom(curated)
        next(f for f in strict.feature if f.name == "fare").float_domain.max = 20.0
        run = Run(tmp_path, trips(), curated=strict)
        assert run.judged == {"DOMAIN_UNEXPECTED_VALUES"}
        assert "Unexpectedly high value" in run.reasons["DOMAIN_UNEXPECTED_VALUES"].message

    def test_a_rare_new_value_is_noted_unless_the_schema_is_the_users_own(self, tmp_path, curated):
        data = replaced(trips(), "payment", "Coin", 0.005)
        run = Run(tmp_path, data, deployed=trips(seed=3))
        assert run.reasons["DOMAIN_UNEXPECTED_VALUES"].severity == "info"
        run = Run(tmp_path / "2", data, curated=curated)
        assert run.reasons["DOMAIN_UNEXPECTED_VALUES"].severity == "warn"

    def test_presence(self, tmp_path):
        run = Run(tmp_path, replaced(trips(), "payment", None, 0.05), deployed=trips(seed=3))
        assert "PRESENCE_LOW" in run.judged and "SCHEMA_ANOMALY" not in run.reasons
        reason = run.reasons["PRESENCE_LOW"]
        assert "`payment` is empty in 15 of 300 rows" in reason.message or (
            "`payment` is empty in 70 of 1,400 rows" in reason.message
        )
        assert {case["split"] for case in reason.cases} == set(SPLITS)
        run = Run(tmp_path / "2", replaced(trips(), "payment", None, 0.005), deployed=trips(seed=3))
        assert run.reasons["PRESENCE_LOW"].severity == "info"

    def test_anything_else_of_a_curated_schema(self, tmp_path, curated):
        strict = schema_pb2.Schema()
        strict.CopyFrom(curated)
        next(f for f in strict.feature if f.name == "note").unique_constraints.min = 5
        strict.dataset_constraints.min_examples_count = 350
        run = Run(tmp_path, trips(), curated=strict, kinds={**KINDS, "note": "categorical"})
        assert run.judged == {"SCHEMA_ANOMALY"}
        found = {case["feature"] for case in run.reasons["SCHEMA_ANOMALY"].cases}
        assert found == {"note", ""}


class TestRows:
    COUNTS = {"rows_read": 2_000, "rows_train": 1_400, "rows_eval": 300, "rows_test": 300}

    def test_all_there(self, tmp_path):
        run = Run(tmp_path, trips(), properties=self.COUNTS)
        assert run.judged == set() and run.verdict.rows["read"] == 2_000

    def test_lost_between_reading_and_splits(self, tmp_path):
        run = Run(tmp_path, trips(), properties={**self.COUNTS, "rows_read": 2_007})
        assert run.judged == {"ROWS_LOST"} and run.verdict.blocked
        assert "7 rows got lost" in run.reasons["ROWS_LOST"].message
        assert run.verdict.rows["read"] == 2_007

    def test_lost_between_splits_and_statistics(self, tmp_path):
        counts = {**self.COUNTS, "rows_read": 2_001, "rows_test": 301}
        run = Run(tmp_path, trips(), properties=counts)
        assert run.judged == {"ROWS_LOST"}
        assert "301 rows were written to test" in run.reasons["ROWS_LOST"].message

    def test_too_few(self, tmp_path):
        run = Run(tmp_path, trips(45))
        assert "TOO_FEW_ROWS" in run.judged and run.verdict.blocked
        assert "45 rows in all, and at least 50" in run.reasons["TOO_FEW_ROWS"].message
        assert "TOO_FEW_ROWS" not in Run(tmp_path / "2", trips(45), min_rows=40).reasons

    def test_an_empty_split(self, tmp_path):
        data = split(trips())
        run = Run(tmp_path, {**data, "test": data["test"].iloc[:0]})
        assert run.judged == {"TOO_FEW_ROWS"}
        assert "No row fell into test" in run.reasons["TOO_FEW_ROWS"].message
        assert run.verdict.rows["test"] == 0

    def test_no_rows_at_all(self, tmp_path):
        data = split(trips())
        run = Run(tmp_path, {name: frame.iloc[:0] for name, frame in data.items()})
        assert run.judged == {"TOO_FEW_ROWS"}

    def test_150_rows_are_enough(self, tmp_path):
        for seed in range(3):
            run = Run(tmp_path / str(seed), trips(150, seed), deployed=trips(150, seed + 10))
            assert not {"SPLIT_MISMATCH", "DRIFT_NUMERIC", "DRIFT_CATEGORICAL"} & run.judged
            assert not run.verdict.blocked


class TestLabel:
    def blocked(self, run: Run) -> Reason:
        assert "LABEL_UNUSABLE" in run.judged and run.verdict.blocked
        assert run.reasons["LABEL_UNUSABLE"].next
        return run.reasons["LABEL_UNUSABLE"]

    def test_absent(self, tmp_path):
        data = trips().rename(columns={"big_tipper": "bigtipper"})
        reason = self.blocked(Run(tmp_path, data, kinds={}))
        assert "The closest name is `bigtipper`" in reason.message

    def test_absent_is_said_once(self, tmp_path):
        run = Run(tmp_path, trips().drop(columns="big_tipper"), deployed=trips(seed=3))
        assert run.judged == {"LABEL_UNUSABLE"}

    def test_empty(self, tmp_path):
        reason = self.blocked(Run(tmp_path, trips().assign(big_tipper=np.nan)))
        assert "empty in all 1,400 rows" in reason.message

    def test_constant(self, tmp_path):
        for kinds in (KINDS, {}):
            run = Run(tmp_path / str(len(kinds)), trips().assign(big_tipper=1), kinds=kinds)
            assert "is '1' in every row of train" in self.blocked(run).message

    def test_three_values(self, tmp_path):
        for kinds in (KINDS, {}):
            data = trips().assign(big_tipper=np.arange(2_000) % 3)
            reason = self.blocked(Run(tmp_path / str(len(kinds)), data, kinds=kinds))
            assert "two values, and `big_tipper` has 3" in reason.message
            assert "multiclass" in reason.next and len(reason.cases) == 3

    def test_a_rare_class(self, tmp_path):
        label = np.zeros(2_000, int)
        label[0] = 1
        for kinds in (KINDS, {}):
            data = trips().assign(big_tipper=label)
            reason = self.blocked(Run(tmp_path / str(len(kinds)), data, kinds=kinds))
            assert "fewer than 2 rows in train" in reason.message
            run = Run(tmp_path / f"{len(kinds)}b", data, kinds=kinds, min_label_rows=1)
            assert "LABEL_UNUSABLE" not in run.reasons

    def test_a_positive_value_that_does_not_occur(self, tmp_path):
        task = TaskOptions(label="big_tipper", type="binary", positive="yes")
        assert "`yes`" in self.blocked(Run(tmp_path, trips(), task=task)).message
        task = TaskOptions(label="big_tipper", type="binary", positive="1")
        assert Run(tmp_path / "2", trips(), task=task).judged == set()

    def test_regression_on_text(self, tmp_path):
        task = TaskOptions(label="payment", type="regression")
        assert "is text" in self.blocked(Run(tmp_path, trips(), task=task)).message

    def test_regression_on_a_constant(self, tmp_path):
        task = TaskOptions(label="fare", type="regression")
        self.blocked(Run(tmp_path, trips().assign(fare=3.5), task=task))

    @pytest.mark.parametrize(
        ("label", "kind"),
        [("fare", "regression"), ("company", "multiclass"), ("hour", "multiclass")],
    )
    def test_usable(self, tmp_path, label, kind):
        run = Run(tmp_path, trips(), task=TaskOptions(label=label, type=kind))
        assert "LABEL_UNUSABLE" not in run.reasons


class TestSplits:
    def test_a_feature(self, tmp_path):
        data = split(trips())
        data["test"] = data["test"].assign(fare=(data["test"]["fare"] * 2).astype("float32"))
        run = Run(tmp_path, data)
        assert run.judged == {"SPLIT_MISMATCH"} and run.verdict.state == "warned"
        message = run.reasons["SPLIT_MISMATCH"].message
        assert "`fare` is distributed otherwise in test than in train: median" in message
        assert {case["split"] for case in run.reasons["SPLIT_MISMATCH"].cases} == {"test"}

    def test_the_label(self, tmp_path):
        data = split(trips())
        data["eval"] = data["eval"].assign(
            big_tipper=(np.random.default_rng(0).random(300) < 0.6).astype(int)
        )
        run = Run(tmp_path, data)
        assert "The label `big_tipper`" in run.reasons["SPLIT_MISMATCH"].message

    def test_a_class_that_train_never_saw(self, tmp_path):
        data = split(trips())
        data["test"] = replaced(data["test"], "company", "Violet", 0.05)
        run = Run(tmp_path, data, task=TaskOptions(label="company", type="multiclass"))
        assert "never in train" in run.reasons["SPLIT_MISMATCH"].message
        assert run.reasons["SPLIT_MISMATCH"].cases[0]["class"] == "Violet"

    def test_ignored_columns_are_not_compared(self, tmp_path):
        data = split(trips())
        data["test"] = data["test"].assign(note="y")
        assert Run(tmp_path, data).judged == set()


class TestDrift:
    def test_a_scale(self, tmp_path):
        data = trips(seed=2)
        data["fare"] = (data["fare"] * 1.3).astype("float32")
        run = Run(tmp_path, data, deployed=trips(seed=3))
        assert run.judged == {"DRIFT_NUMERIC"} and run.verdict.state == "warned"
        reason = run.reasons["DRIFT_NUMERIC"]
        assert "`fare` is not what version 3f2a9c04d1e7… was trained on: median" in reason.message
        assert "PSI" in reason.message and "chance" in reason.message
        assert run.verdict.drift[0]["feature"] == "fare" and run.verdict.drift[0]["drifted"]
        assert not any(drift["drifted"] for drift in run.verdict.drift[1:])

    def test_shares_and_a_new_value(self, tmp_path):
        data = trips(seed=2)
        data["payment"] = data["payment"].replace({"Cash": "Card", "Card": "Cash"})
        data = replaced(data, "company", "Violet", 0.1)
        run = Run(tmp_path, data, deployed=trips(seed=3))
        reason = run.reasons["DRIFT_CATEGORICAL"]
        assert {case["feature"] for case in reason.cases} == {"payment", "company"}
        assert reason.message.startswith("2 categorical columns drifted: ")
        assert "DRIFT_NUMERIC" not in run.reasons
        assert "payment" in run.anomalies("train").anomaly_info  # TFDV says so as well

    def test_the_label(self, tmp_path):
        data = trips(seed=2).assign(big_tipper=np.arange(2_000) % 2)
        run = Run(tmp_path, data, deployed=trips(seed=3))
        assert {c["feature"] for c in run.reasons["DRIFT_CATEGORICAL"].cases} == {"big_tipper"}

    def test_ignored_columns(self, tmp_path):
        run = Run(tmp_path, trips(seed=2).assign(note="x"), deployed=trips(seed=3))
        assert run.judged == set()

    def test_a_curated_schema_judges_the_columns_and_the_baseline_the_drift(
        self, tmp_path, curated
    ):
        data = trips(seed=2)
        data["fare"] = (data["fare"] * 1.5).astype("float32")
        run = Run(tmp_path, data, deployed=trips(seed=3), curated=curated)
        assert run.judged == {"DRIFT_NUMERIC"}


class TestPolicy:
    def test_the_config_decides(self, tmp_path):
        data = trips().assign(weather="rain").drop(columns="fare")
        policy = {"COLUMN_NEW": "block", "COLUMN_MISSING": "ignore"}
        run = Run(tmp_path, data, deployed=trips(seed=3), policy=policy)
        assert run.reasons["COLUMN_NEW"].severity == "block"
        assert run.reasons["COLUMN_MISSING"].severity == "info"
        assert run.verdict.reasons[0].code == "COLUMN_NEW"

    def test_everything_is_found_at_once(self, tmp_path):
        data = replaced(trips(), "payment", "Coin", 0.05)
        data = data.drop(columns="seconds").assign(weather="rain", big_tipper=1)
        data["fare"] = data["fare"].astype(str)
        run = Run(tmp_path, data, deployed=trips(seed=3), properties={"rows_read": 1})
        assert run.judged >= {
            "COLUMN_MISSING",
            "COLUMN_NEW",
            "TYPE_CHANGED",
            "LABEL_UNUSABLE",
            "DOMAIN_UNEXPECTED_VALUES",
        }
        severities = [reason.severity for reason in run.verdict.reasons]
        assert severities == sorted(severities, key=["block", "warn", "info"].index)

    def test_every_code_has_words_and_a_next_step(self):
        """Every code of the policy is met by a test of this file, by name."""
        text = pathlib.Path(__file__).read_text(encoding="utf-8")
        assert all(f'"{code}"' in text for code in DEFAULT_POLICY)


def test_a_curated_schema_that_is_none(tmp_path):
    folder = tmp_path / "schema"
    folder.mkdir()
    (folder / "schema.pbtxt").write_text("fare: number", encoding="utf-8")
    artifact = standard_artifacts.Schema()
    artifact.uri = str(folder)
    with pytest.raises(ConfigError, match="not a schema") as error:
        executor._read_schema(artifact)
    assert error.value.exit_code == 2


class TestVerdict:
    def test_there_and_back(self, tmp_path):
        reasons = (Reason("COLUMN_NEW", "é", ({"feature": "é", "rows": 3},), "do", "warn"),)
        verdict = Verdict("warned", None, reasons, ({"feature": "x"},), {"read": 3})
        assert Verdict.from_json(verdict.to_json()) == verdict
        (tmp_path / "verdict.json").write_text(verdict.to_json(), encoding="utf-8")
        assert Verdict.load(tmp_path) == Verdict.load(str(tmp_path)) == verdict
        assert Verdict.load(f"file://{tmp_path}") == verdict

    def test_a_newer_format_is_refused(self):
        with pytest.raises(ValueError, match="newer"):
            Verdict.from_json('{"format": 2}')

    def test_reading_one_is_light(self):
        code = (
            "import sys, custom_components.schema_validator.verdict; "
            "heavy = {'tensorflow', 'tfx', 'tensorflow_data_validation', 'apache_beam'}; "
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
        )
        root = pathlib.Path(executor.__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def taxi() -> pd.DataFrame:
    import tfx

    folder = pathlib.Path(tfx.__path__[0]) / "examples/chicago_taxi_pipeline/data/simple"
    frame = pd.read_csv(folder / "data.csv").drop(columns="pickup_census_tract")
    reals = [name for name in frame if frame[name].dtype == float]
    return frame.assign(big_tipper=(frame["tips"] > 0.2 * frame["fare"]).astype(int)).astype(
        {name: "float32" for name in reals}
    )


class TestTaxi:
    KINDS = {"trip_start_hour": "categorical", "trip_start_day": "categorical"}

    def kinds(self, taxi):
        return {name: self.KINDS.get(name, "numeric") for name in taxi} | {
            "payment_type": "categorical",
            "company": "categorical",
            "big_tipper": "categorical",
        }

    def test_random_halves_pass(self, tmp_path, taxi):
        order = np.random.default_rng(0).permutation(len(taxi))
        one, other = taxi.iloc[order[:7_500]], taxi.iloc[order[7_500:15_000]]
        run = Run(tmp_path, other, deployed=one, kinds=self.kinds(taxi))
        assert run.judged == set(), run.verdict.reasons

    def test_the_years_are_seen(self, tmp_path, taxi):
        by_time = taxi.sort_values("trip_start_timestamp")
        run = Run(
            tmp_path, by_time.iloc[10_000:], deployed=by_time.iloc[:5_000], kinds=self.kinds(taxi)
        )
        drifted = {drift["feature"] for drift in run.verdict.drift if drift["drifted"]}
        assert {"trip_start_timestamp", "payment_type"} <= drifted
        assert run.verdict.state == "warned"


def test_in_a_plain_tfx_pipeline(tmp_path):
    """Stock StatisticsGen and SchemaGen before it, nothing of ours but the component."""
    from tfx.components import CsvExampleGen, SchemaGen, StatisticsGen
    from tfx.orchestration import metadata, pipeline
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.proto import example_gen_pb2

    (tmp_path / "data").mkdir()
    trips(600).to_csv(tmp_path / "data" / "trips.csv", index=False)
    output = example_gen_pb2.Output()
    for name, buckets in (("train", 7), ("eval", 3)):
        output.split_config.splits.add(name=name, hash_buckets=buckets)
    examples = CsvExampleGen(str(tmp_path / "data"), output_config=output)
    statistics_gen = StatisticsGen(examples.outputs["examples"])
    schema_gen = SchemaGen(statistics_gen.outputs["statistics"])
    validator = SchemaValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        examples=examples.outputs["examples"],
        task=TASK,
        kinds=KINDS,
    )
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="trips",
            pipeline_root=str(tmp_path / "root"),
            metadata_connection_config=metadata.sqlite_metadata_connection_config(
                str(tmp_path / "metadata.db")
            ),
            components=[examples, statistics_gen, schema_gen, validator],
        )
    )
    (folder,) = (tmp_path / "root" / "SchemaValidator" / "anomalies").iterdir()
    verdict = Verdict.load(folder)
    assert verdict.state in ("passed", "warned") and verdict.rows["read"] == 600
    assert {reason.code for reason in verdict.reasons} >= {"NO_BASELINE"}
    assert load_anomalies_binary(str(folder / "Split-eval" / "SchemaDiff.pb")) is not None
