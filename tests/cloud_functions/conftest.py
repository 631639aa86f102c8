"""Small real versions, served by real processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest

from cloud_functions.local import Function
from cloud_functions.options import AutomationOptions, ServingOptions
from cloud_functions.settings import Settings
from models import golden
from models.predictor import Predictor, TFLiteRunner
from models.registry import Registry
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

SPEC = ModelSpec(
    "binary",
    "tip",
    ("no", "yes"),
    (
        NumericFeature("fare", 10.0, 0.0, 100.0, 20.0, 10.0),
        NumericFeature("miles", 2.0, 0.0, 50.0, 4.0, 3.0),
    ),
    (
        CategoricalFeature("hour", "integer", ("0", "1", "2", "3"), "integer"),
        CategoricalFeature("payment", "string", ("Cash", "Credit Card", "3")),
    ),
)
ROW = {"fare": 12.5, "miles": 3, "hour": 2, "payment": "Cash"}


@pytest.fixture(scope="session")
def model_files() -> list[dict[str, bytes]]:
    """Two versions of a small model, as the Pusher hands them over."""
    from custom_components.tflite_quantizer import recipes
    from custom_components.tflite_quantizer.convert import to_tflite
    from models.graph import Serving
    from models.network import build_network
    from models.options import StudentOptions

    rows = {
        "fare": np.array([[5.0], [np.nan], [60.0]], np.float32),
        "miles": np.array([[1.0], [2.0], [np.nan]], np.float32),
        "hour": np.array([[1.0], [np.nan], [9.0]], np.float32),
        "payment": np.array([[b"Cash"], [b""], [b"Wire"]], dtype=object),
    }
    made = []
    for seed in (0, 1):
        content = to_tflite(
            Serving(SPEC, build_network(SPEC, StudentOptions(), seed)), recipes.get("float32")
        )
        made.append(
            {
                "model.tflite": content,
                "model.json": json.dumps(SPEC.to_dict()).encode(),
                "golden.json": golden.record(Predictor(SPEC, TFLiteRunner(content)), rows),
            }
        )
    return made


@pytest.fixture(scope="session")
def published(model_files, tmp_path_factory) -> tuple[pathlib.Path, list[str]]:
    """A registry with both versions, the first deployed; not to be changed."""
    registry = Registry(tmp_path_factory.mktemp("published"))
    details = {"run_id": "r", "data_fingerprint": "d", "metrics": {}}
    names = [registry.publish(files, details)[0] for files in model_files]
    registry.rollback(names[0])
    return registry.root, names


@dataclasses.dataclass
class Deployed:
    """A registry of one's own with two versions, and settings that name it."""

    registry: Registry
    names: list[str]
    settings: Settings

    @property
    def log(self) -> pathlib.Path:
        return pathlib.Path(self.settings.log)


def settings_in(folder: pathlib.Path, **automation) -> Settings:
    """Settings with everything in one folder."""
    return Settings(
        name="taxi",
        deployed=str(folder / "deployed"),
        log=str(folder / "log"),
        serving=ServingOptions(reload_seconds=0.1, log_seconds=0.5),
        automation=AutomationOptions(
            **{
                "ledger": str(folder / "ledger.sqlite"),
                "jobs": str(folder / "jobs"),
                "inbox": str(folder / "inbox"),
                **automation,
            }
        ),
    )


@pytest.fixture
def deployed(tmp_path, published) -> Deployed:
    """Both versions in a registry of one's own, the first deployed."""
    root, names = published
    settings = settings_in(tmp_path)
    shutil.copytree(root, settings.deployed)
    return Deployed(Registry(settings.deployed), names, settings)


Serve = Callable[..., Function]


@pytest.fixture
def serve(tmp_path) -> Iterator[Serve]:
    """Starts functions as processes, and ends them."""
    with contextlib.ExitStack() as stack:

        def start(name: str, settings: Settings, *, port: int = 0, threads: int = 8) -> Function:
            file = tmp_path / f"{name}.json"
            file.write_text(settings.model_dump_json(), "utf-8")
            function = Function(name, file, tmp_path / f"{name}.log", port=port, threads=threads)
            stack.callback(function.stop)
            function.start()
            function.wait()
            return function

        yield start


@pytest.fixture(scope="session")
def server(published, tmp_path_factory) -> Iterator[Function]:
    """One predict function for tests that change nothing."""
    folder = tmp_path_factory.mktemp("server")
    root, _ = published
    settings = settings_in(folder).model_copy(update={"deployed": str(root)})
    file = folder / "settings.json"
    file.write_text(settings.model_dump_json(), "utf-8")
    function = Function("predict", file, folder / "log.txt", threads=16)
    function.start()
    function.wait()
    assert httpx.get(f"{function.url}/readyz").status_code == 200
    yield function
    function.stop()
