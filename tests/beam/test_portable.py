"""`engine: beam` on a portable runner gives what the local engine gives."""

from __future__ import annotations

import gzip
import pathlib

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv
import pytest
import sklearn.datasets
import tensorflow_data_validation as tfdv
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from custom_components.example_gen import beam_engine, split, write
from custom_components.example_gen.options import SplitOptions
from custom_components.example_gen.reader import open_dataset
from models.errors import DataError
from tests.conftest import Flywheel


@pytest.fixture
def trips(tmp_path: pathlib.Path) -> pathlib.Path:
    """A table in three files."""
    folder = tmp_path / "trips"
    folder.mkdir()
    for number in range(3):
        rows = range(number * 100, number * 100 + 100)
        table = pa.table(
            {
                "id": list(rows),
                "fare": [None if r % 7 == 0 else r / 3 for r in rows],
                "company": [f"company {r % 5}" for r in rows],
            }
        )
        pyarrow.csv.write_csv(table, folder / f"{number}.csv")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["direct", "portable"])
def test_the_same_examples(
    trips: pathlib.Path,
    tmp_path: pathlib.Path,
    runner: str,
    request: pytest.FixtureRequest,
) -> None:
    arguments = (
        request.getfixturevalue("portable_arguments")
        if runner == "portable"
        else ("--runner=DirectRunner",)
    )
    dataset = open_dataset(str(trips / "*.csv"))
    splitter = split.plan(dataset, SplitOptions())
    local = tmp_path / "local"
    local.mkdir()
    rows = write.write_splits(dataset, splitter, str(local))
    shards = beam_engine.write_shards(
        dataset,
        splitter,
        str(tmp_path / "beam"),
        lambda: beam.Pipeline(options=PipelineOptions(list(arguments))),
    )
    assert beam_engine.rows_of(shards) == rows
    for name in split.SPLITS:
        paths = [path for path, _ in beam_engine.names_of(shards, name)]
        assert len(paths) == 3
        written = b"".join(gzip.decompress(pathlib.Path(path).read_bytes()) for path in paths)
        # The order of the files is the order of the table: byte for byte the same.
        assert written == gzip.decompress((local / f"{name}.gz").read_bytes())


def test_no_split_may_be_empty(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_text("x\n" + "1\n" * 50, "utf-8")
    dataset = open_dataset(str(tmp_path / "a.csv"))
    splitter = split.Splitter(SplitOptions(), ("x",), 0, 0)
    with pytest.raises(DataError) as error:
        beam_engine.write_shards(
            dataset,
            splitter,
            str(tmp_path / "beam"),
            lambda: beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner"])),
        )
    assert error.value.reason.code == "SPLIT_EMPTY"


@pytest.mark.slow
def test_a_whole_run(
    flywheel: Flywheel, portable_arguments: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    """All three Beam components on the portable runner: the numbers of a local run."""
    bunch = sklearn.datasets.load_breast_cancer(as_frame=True)
    table = bunch.frame[[*bunch.feature_names[:6], "target"]]
    (tmp_path / "data").mkdir()
    for number in range(3):
        table.iloc[number::3].to_csv(tmp_path / f"data/{number}.csv", index=False)
    flywheel("init", "data/*.csv", "--label", "target")
    config = yaml.safe_load((tmp_path / "flywheel.yaml").read_text("utf-8"))
    config |= {
        "teacher": {"epochs": 5},
        "student": {"epochs": 5},
        "quantizer": {"recipes": ["float32"], "pick": "quality"},
    }
    results, statistics = {}, {}
    for engine in ("local", "beam"):
        arguments = list(portable_arguments) if engine == "beam" else []
        own = {"engine": engine, "beam_args": arguments, "root": engine}
        own["deploy"] = {"path": f"{engine}/deployed"}
        (tmp_path / "flywheel.yaml").write_text(yaml.safe_dump({**config, **own}), "utf-8")
        results[engine] = flywheel.json("run", check=None)
        (path,) = (tmp_path / engine).glob("**/StatisticsGen/**/Split-train/FeatureStats.pb")
        statistics[engine] = tfdv.load_stats_binary(str(path)).datasets[0]
    local, remote = results["local"], results["beam"]
    assert local["state"] == remote["state"] == "pushed"
    assert local["rows"] == remote["rows"]
    assert len(list((tmp_path / "beam").glob("**/Split-train/data_tfrecord-*-of-00003.gz"))) == 3
    of = {
        engine: {f.path.step[0]: f for f in found.features} for engine, found in statistics.items()
    }
    assert of["local"].keys() == of["beam"].keys()
    for name, feature in of["local"].items():
        assert feature.num_stats.mean == pytest.approx(of["beam"][name].num_stats.mean, rel=1e-5)
        assert feature.num_stats.std_dev == pytest.approx(
            of["beam"][name].num_stats.std_dev, rel=1e-5
        )
    for model, metrics in local["metrics"].items():
        assert remote["metrics"][model] == pytest.approx(metrics, abs=2e-3)
