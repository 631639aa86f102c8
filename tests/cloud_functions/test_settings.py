from __future__ import annotations

import dataclasses
import json

import pytest

from cloud_functions import settings, settings_file
from cloud_functions.options import ServingOptions
from cloud_functions.predict import settings as predict_settings
from models.errors import ConfigError
from tests.cloud_functions.conftest import settings_in


def written(tmp_path, monkeypatch, change=lambda content: None):
    content = json.loads(settings_in(tmp_path).model_dump_json())
    change(content)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(content), "utf-8")
    monkeypatch.setenv(settings_file.ENVIRONMENT, str(file))
    return file


def test_predict_reads_what_the_others_read(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch)
    whole, own = settings.load(), predict_settings.load()
    assert (own.name, own.deployed, own.log) == (whole.name, whole.deployed, whole.log)
    assert dataclasses.asdict(own.serving).items() <= whole.serving.model_dump().items()


def test_predict_knows_every_option_that_it_does_not_leave_to_its_server():
    of_the_server = {"port", "threads"}
    known = {field.name for field in dataclasses.fields(predict_settings.Serving)}
    assert known == ServingOptions.model_fields.keys() - of_the_server


def test_the_environment_says_where_things_are(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch)
    monkeypatch.setenv("FLYWHEEL_LOG", "/mnt/log")
    assert predict_settings.load().log == settings.load().log == "/mnt/log"
    assert predict_settings.load().deployed == settings.load().deployed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("name"), "`name` must be text, not None"),
        (lambda c: c.update(log=3), "`log` must be text, not 3"),
        (lambda c: c.pop("serving"), "`serving` must be an object"),
        (lambda c: c["serving"].pop("max_rows"), "`serving.max_rows` must be a whole number"),
        (lambda c: c["serving"].update(interpreters=0), "above 0, not 0"),
        (lambda c: c["serving"].update(interpreters=1.5), "whole number above 0, not 1.5"),
        (lambda c: c["serving"].update(interpreters=True), "not True"),
        (lambda c: c["serving"].update(log_seconds=float("nan")), "not nan"),
        (lambda c: c["serving"].update(unknown_features=None), "`serving.unknown_features`"),
    ],
)
def test_what_a_hand_broke_is_named(tmp_path, monkeypatch, change, said):
    file = written(tmp_path, monkeypatch, change)
    with pytest.raises(ConfigError) as error:
        predict_settings.load()
    assert error.value.reason.code == "WRONG_VALUE"
    assert said in error.value.reason.message and str(file) in error.value.reason.message


@pytest.mark.parametrize("load", [settings.load, predict_settings.load])
@pytest.mark.parametrize("content", ["{", "[]", "", '{"name": "\udcff"}'])
def test_what_is_no_object_is_told(tmp_path, monkeypatch, load, content):
    written(tmp_path, monkeypatch).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as error:
        load()
    assert error.value.reason.code == "WRONG_VALUE"


def test_both_problems_are_told_by_the_others_too(tmp_path, monkeypatch):
    def spoil(content):
        content["name"] = 3
        content["serving"]["prot"] = 8080

    written(tmp_path, monkeypatch, spoil)
    with pytest.raises(ConfigError) as error:
        settings.load()
    assert "`name`" in error.value.reason.message
    assert "`serving.prot`" in error.value.reason.message


@pytest.mark.parametrize("load", [settings.load, predict_settings.load])
def test_a_missing_file_says_what_writes_it(tmp_path, monkeypatch, load):
    monkeypatch.setenv(settings_file.ENVIRONMENT, str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match="none.json") as error:
        load()
    assert error.value.reason.code == "NO_SETTINGS"


def test_a_file_that_changed_is_read_again(tmp_path, monkeypatch):
    file = written(tmp_path, monkeypatch)
    assert predict_settings.load().name == "taxi"
    file.write_text(file.read_text("utf-8").replace('"taxi"', '"bus"'), "utf-8")
    assert predict_settings.load().name == settings.load().name == "bus"
