"""The linter: every broken file is refused with its sentence, and nothing else is."""

from __future__ import annotations

import pathlib

import pytest

from models.errors import ConfigError
from pipeline.kubeflow.document import Document, read
from pipeline.kubeflow.lint import lint
from tests.conftest import Flywheel

HERE = pathlib.Path(__file__).parent
BROKEN = sorted((HERE / "broken").glob("*.yaml"))


def _expected(path: pathlib.Path) -> tuple[str, str]:
    """The code and a part of the sentence: the file's first two lines."""
    code, sentence = path.read_text("utf-8").splitlines()[:2]
    return code.removeprefix("# "), sentence.removeprefix("# ")


def test_a_sound_file_has_no_findings() -> None:
    assert lint(read(HERE / "sound.yaml")) == []


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_is_refused_with_the_right_sentence(path: pathlib.Path) -> None:
    code, sentence = _expected(path)
    errors = [finding for finding in lint(read(path)) if finding.severity == "error"]
    assert {finding.code for finding in errors} == {code}
    assert any(sentence in finding.message for finding in errors), errors
    assert all(finding.next for finding in errors)


def test_there_are_enough_broken_files() -> None:
    assert len(BROKEN) >= 12


def test_an_image_without_its_digest_is_a_warning() -> None:
    document = read(HERE / "sound.yaml")
    for executor in document.executors.values():
        executor["container"]["image"] = "registry.example/flywheel:latest"
    [finding] = lint(document)
    assert (finding.severity, finding.code) == ("warning", "UNPINNED_IMAGE")
    assert "registry.example/flywheel:latest" in finding.message


def test_what_only_kubeflow_refuses_is_no_error_on_vertex() -> None:
    document = read(HERE / "broken" / "resolver.yaml")
    job = {"runtimeConfig": {"gcsOutputDirectory": "gs://bucket/root"}}
    wrapped = Document({**document.pipeline, "defaultPipelineRoot": "gs://bucket/root"}, job=job)
    assert "RESOLVER" in {finding.code for finding in lint(wrapped, "kfp")}
    assert "WRAPPED" in {finding.code for finding in lint(wrapped, "kfp")}
    on_vertex = {finding.code for finding in lint(wrapped, "vertex")}
    assert not on_vertex & {"RESOLVER", "WRAPPED"}


def test_a_bare_file_is_nothing_for_vertex() -> None:
    codes = {finding.code for finding in lint(read(HERE / "sound.yaml"), "vertex")}
    assert "NOT_WRAPPED" in codes


def test_a_file_too_large_for_kubernetes_is_refused() -> None:
    document = read(HERE / "sound.yaml")
    document.executors["Trainer_executor"]["container"]["args"].append("x" * 1_100_000)
    assert [finding.code for finding in lint(document)] == ["TOO_LARGE"]


def test_the_command_ends_with_the_findings(flywheel: Flywheel) -> None:
    path = HERE / "broken" / "cycle.yaml"
    refused = flywheel.json("compile", "--lint", str(path), check=1)
    assert not refused["clean"]
    assert [finding["code"] for finding in refused["findings"]] == ["CYCLE"]
    assert "wait for each other: Pusher, Trainer" in refused["findings"][0]["message"]


def test_the_command_says_it_to_people_too(flywheel: Flywheel) -> None:
    shown = flywheel("compile", "--lint", str(HERE / "broken" / "cycle.yaml"), check=1)
    assert "These tasks wait for each other: Pusher, Trainer." in shown.stderr
    assert "1 error, 0 warnings." in shown.stderr


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "UNREADABLE_SPEC"),
        ("[1, 2]", "UNREADABLE_SPEC"),
        ("a: b: c", "UNREADABLE_SPEC"),
        ("root: {}\n---\nroot: {}\n", "UNREADABLE_SPEC"),
        ("platforms: {}\n", "UNREADABLE_SPEC"),
    ],
)
def test_what_is_no_pipeline_is_said_in_one_paragraph(
    tmp_path: pathlib.Path, content: str, code: str
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.reason.code == code
