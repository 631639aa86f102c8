"""The linter names every cause for which TFX's own output does not run on Kubeflow Pipelines."""

from __future__ import annotations

import pathlib

from pipeline.kubeflow.lint import lint
from tests.pipeline.kubeflow import stock
from tests.pipeline.kubeflow.compiled import config

#: What the form alone says, whatever the components.
_FORM = {"WRAPPED", "SCHEMA_VERSION", "NO_PIPELINE_ROOT", "UNPINNED_IMAGE"}
#: What TFX's own entrypoint stands for.
_ENTRYPOINT = {"STOCK_ENTRYPOINT", "NO_INPUT_TYPES"}


def _codes(document: stock.Document) -> set[str]:
    return {finding.code for finding in lint(document)}


def test_our_pipeline_compiled_the_stock_way(tmp_path: pathlib.Path) -> None:
    document = stock.ours(config("plain.yaml"), tmp_path)
    findings = lint(document)
    codes = {finding.code for finding in findings}
    assert codes == _FORM | _ENTRYPOINT | {
        *("UNREADABLE_STORE", "OLD_CONSTANT", "MUST_NOT_BE_CACHED", "INSIDE_POD")
    }
    cached = [f.message for f in findings if f.code == "MUST_NOT_BE_CACHED"]
    assert {name for name in ("ExampleGen", "DeployedModel", "Pusher") for m in cached if name in m}
    assert len(cached) == 3
    assert any("minio://mlpipeline/v2/artifacts" in f.message for f in findings)


def test_the_newer_schema_alone_is_not_enough(tmp_path: pathlib.Path) -> None:
    codes = _codes(stock.ours(config("plain.yaml"), tmp_path, "yaml"))
    assert codes == {
        *("STOCK_ENTRYPOINT", "UNREADABLE_STORE", "MUST_NOT_BE_CACHED", "INSIDE_POD"),
        *("NO_PIPELINE_ROOT", "UNPINNED_IMAGE"),
    }


def test_a_tutorials_pipeline(tmp_path: pathlib.Path) -> None:
    codes = _codes(stock.of_stock_components(tmp_path))
    assert codes >= _FORM | _ENTRYPOINT
    assert codes >= {
        "UNREADABLE_STORE",
        "LIFECYCLE",
        "MUST_NOT_BE_CACHED",
        "RESOLVER",
        "BAD_NAME",
        "USER_MODULE",
        "INSIDE_POD",
        "NO_SUCH_PRODUCER",  # the name of CountRows with a suffix
        "NO_SUCH_PARAMETER",  # the pipeline's, within the DAG that the exit handler follows
    }
