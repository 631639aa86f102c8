"""Uploading, running, scheduling: every request is checked against the published API."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError
from pipeline.cluster.client import Cluster, without_credentials
from pipeline.cluster.follow import follow
from pipeline.cluster.options import ClusterOptions
from pipeline.cluster.submission import Package, parameter_values, read_package, six_fields
from pipeline.cluster.transport import ClusterError, Unavailable
from tests.pipeline.cluster.server import VERSIONS, Fault, Kfp

SPEC = """\
pipelineInfo:
  name: taxi
schemaVersion: 2.1.0
sdkVersion: kfp-2.5.0
components: {}
deploymentSpec: {}
root:
  inputDefinitions:
    parameters:
      data-path: {parameterType: STRING}
  dag:
    tasks:
      trainer: {taskInfo: {name: trainer}}
      pusher: {taskInfo: {name: pusher}}
"""


@pytest.fixture
def spec(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "pipeline.yaml"
    path.write_text(SPEC, "utf-8")
    return path


@pytest.fixture(params=VERSIONS)
def kfp(request: pytest.FixtureRequest) -> Iterator[Kfp]:
    kfp = Kfp(request.param)
    with kfp.serving() as address:
        kfp.address = address
        yield kfp
    assert kfp.violations == []


def connect(kfp: Kfp, **options: object) -> Cluster:
    return Cluster(
        ClusterOptions(**{"host": kfp.address, "timeout_seconds": 0.7, "attempts": 4, **options})
    )


def put(cluster: Cluster, spec: pathlib.Path):
    package = read_package(spec)
    return cluster.upload(package.path, package.name, package.version)


def test_the_same_content_is_one_version(kfp: Kfp, spec: pathlib.Path) -> None:
    first = put(connect(kfp), spec)
    second = put(connect(kfp), spec)
    assert first.new and not second.new
    assert (first.pipeline_id, first.version_id) == (second.pipeline_id, second.version_id)
    spec.write_text(SPEC.replace("data-path", "data"), "utf-8")
    third = put(connect(kfp), spec)
    assert third.new and third.pipeline_id == first.pipeline_id
    assert third.version_id != first.version_id


def test_a_run_with_its_parameters(kfp: Kfp, spec: pathlib.Path) -> None:
    cluster = connect(kfp)
    run, started = cluster.start(
        put(cluster, spec), "taxi-1", {"data-path": "gs://b/x.csv"}, pipeline_root="minio://m/r"
    )
    assert started
    kept = kfp.runs[run.run_id]
    assert kept["runtime_config"] == {
        "parameters": {"data-path": "gs://b/x.csv"},
        "pipeline_root": "minio://m/r",
    }
    again, started = cluster.start(put(cluster, spec), "taxi-1", {})
    assert not started and again.run_id == run.run_id and len(kfp.runs) == 1


@pytest.mark.parametrize("story", [["RUNNING", "SUCCEEDED"], ["PENDING", "RUNNING", "FAILED"]])
def test_following_a_run(kfp: Kfp, spec: pathlib.Path, story: list[str]) -> None:
    kfp.story = story
    cluster = connect(kfp)
    run, _ = cluster.start(put(cluster, spec), "taxi-1", {})
    kfp.faults = [Fault("GET", "/runs/", 503, times=2)]
    seen = list(follow(functools.partial(cluster.progress, run.run_id), every_seconds=0.01))
    assert [p.state for p in seen] == story
    assert seen[-1].exit_code == (0 if story[-1] == "SUCCEEDED" else 1)
    # Drivers and executors are pods of the backend's, not tasks of the pipeline.
    assert [t.name for t in seen[-1].tasks] == ["trainer", "pusher"]
    assert all(t.seconds is not None and t.seconds > 0 for t in seen[-1].tasks)
    if story[-1] == "FAILED":
        assert seen[-1].tasks[0].error == "the trainer ran out of memory"


def test_a_silent_cluster_does_not_end_the_run(kfp: Kfp, spec: pathlib.Path) -> None:
    cluster = connect(kfp, attempts=1)
    run, _ = cluster.start(put(cluster, spec), "taxi-1", {})
    kfp.faults = [Fault("GET", "/runs/", 0, times=3)]
    seen = list(follow(functools.partial(cluster.progress, run.run_id), every_seconds=0.01))
    assert [p.silent_seconds > 0 for p in seen[:4]] == [True, True, True, False]
    assert seen[-1].state == "SUCCEEDED"
    kfp.faults = [Fault("GET", "/runs/", 0, times=100)]
    with pytest.raises(Unavailable):
        list(
            follow(
                functools.partial(cluster.progress, run.run_id),
                every_seconds=0.01,
                patience_seconds=0.02,
            )
        )
    kfp.faults = []


def test_terminate(kfp: Kfp, spec: pathlib.Path) -> None:
    kfp.story = ["RUNNING"]
    cluster = connect(kfp)
    run, _ = cluster.start(put(cluster, spec), "taxi-1", {})
    assert cluster.terminate(run.run_id).state == "CANCELED"
    assert cluster.terminate(run.run_id).state == "CANCELED"
    with pytest.raises(ClusterError) as refused:
        cluster.terminate("no-such-run")
    assert refused.value.reason.code == "NOT_IN_CLUSTER"


def test_listing_turns_pages(kfp: Kfp, spec: pathlib.Path) -> None:
    cluster = connect(kfp)
    uploaded = put(cluster, spec)
    for index in range(8):
        cluster.start(uploaded, f"taxi-{index}", {})
    # The last of the names is on the third page.
    assert not cluster.start(uploaded, "taxi-7", {})[1]
    assert len(kfp.runs) == 8


def test_a_schedule_is_made_updated_and_never_doubled(kfp: Kfp, spec: pathlib.Path) -> None:
    cluster = connect(kfp)
    uploaded = put(cluster, spec)
    cron = six_fields("30 4 * * 1")

    def schedule(cron: str, **parameters: str) -> str:
        return cluster.schedule(uploaded, "taxi", cron, parameters)[1]

    assert schedule(cron) == "created"
    assert schedule(cron) == "unchanged"
    assert schedule(six_fields("0 5 * * *")) == "updated"
    assert schedule(six_fields("0 5 * * *"), **{"data-path": "x"}) == "updated"
    assert len(kfp.recurring) == 1 and kfp.most_enabled == 1
    (only,) = kfp.recurring.values()
    assert only["trigger"]["cron_schedule"]["cron"] == "0 0 5 * * *"
    assert only["no_catchup"] is True
    # What others left behind under the same name goes as well.
    kfp.recurring["other"] = {**only, "recurring_run_id": "other", "status": "DISABLED"}
    assert schedule(six_fields("0 5 * * *"), **{"data-path": "x"}) == "updated"
    assert len(kfp.recurring) == 1
    assert cluster.unschedule("taxi") == 1 and not kfp.recurring


@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["500", "503", "timeout", "half-closed"])
@pytest.mark.parametrize(
    "path", ["/pipelines/upload", "/pipelines/upload_version", "/experiments", "/runs"]
)
def test_nothing_happens_twice_when_an_answer_is_lost(
    spec: pathlib.Path, path: str, kind: str, acted: bool
) -> None:
    kfp = Kfp("2.0.5")
    with kfp.serving() as kfp.address:
        cluster = connect(kfp)
        status = int(kind) if kind.isdigit() else 0
        kfp.faults = [
            Fault("POST", path, status, acted=acted, seconds=1.2 if kind == "timeout" else 0.0)
        ]
        run, started = cluster.start(put(cluster, spec), "taxi-1", {})
    assert started != acted or path != "/runs"
    assert kfp.faults == [] and kfp.violations == []
    assert len(kfp.pipelines) == len(kfp.experiments) == len(kfp.runs) == 1
    assert len([v for v in kfp.versions.values() if v["display_name"] != "taxi"]) == 1


@pytest.mark.parametrize("path", ["/recurringruns"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("acted", [False, True])
def test_a_schedule_survives_lost_answers(
    spec: pathlib.Path, path: str, method: str, acted: bool
) -> None:
    kfp = Kfp("2.17.0")
    with kfp.serving() as kfp.address:
        cluster = connect(kfp)
        uploaded = put(cluster, spec)
        cluster.schedule(uploaded, "taxi", six_fields("@daily"), {})
        kfp.faults = [Fault(method, path, 0, acted=acted)]
        cluster.schedule(uploaded, "taxi", six_fields("@hourly"), {})
    assert kfp.faults == [] and len(kfp.recurring) == 1 and kfp.most_enabled == 1
    (only,) = kfp.recurring.values()
    assert only["status"] == "ENABLED"
    assert only["trigger"]["cron_schedule"]["cron"] == six_fields("@hourly")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "CLUSTER_REFUSED"), (401, "NOT_LOGGED_IN"), (403, "NOT_ALLOWED"),
     (404, "NOT_IN_CLUSTER"),
     (500, "CLUSTER_FAILED"), (503, "CLUSTER_FAILED"), (0, "CLUSTER_UNREACHABLE")],
)  # fmt: skip
def test_every_refusal_is_a_sentence(spec: pathlib.Path, status: int, code: str) -> None:
    kfp = Kfp("2.0.5")
    with kfp.serving() as kfp.address:
        cluster = connect(kfp, attempts=2)
        kfp.faults = [Fault("POST", "/pipelines/upload", status, times=5)]
        with pytest.raises(ClusterError) as refused:
            put(cluster, spec)
    reason = refused.value.reason
    assert reason.code == code and kfp.address in reason.message and reason.next
    if status:
        assert "as the test wants it" in reason.message


def test_someone_faster_is_no_error(spec: pathlib.Path) -> None:
    kfp = Kfp("2.0.5")
    with kfp.serving() as kfp.address:
        cluster = connect(kfp)
        kfp.faults = [Fault("POST", "/experiments", 409, acted=True)]
        assert cluster.start(put(cluster, spec), "taxi-1", {})[1]
    assert len(kfp.experiments) == 1


def test_secrets_come_from_the_environment_and_are_not_shown(
    spec: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    kfp = Kfp("2.0.5", token="s3cr3t-token")
    with kfp.serving() as kfp.address:
        monkeypatch.setenv("KF_PIPELINES_TOKEN", "wr0ng-token")
        with pytest.raises(ClusterError) as refused:
            put(connect(kfp), spec)
        assert refused.value.reason.code == "NOT_LOGGED_IN"
        assert "wr0ng" not in str(refused.value)
        monkeypatch.setenv("KF_PIPELINES_TOKEN", "s3cr3t-token")
        assert put(connect(kfp), spec).new
    kfp = Kfp("2.0.5", cookie="authservice_session=c00kie")
    with kfp.serving() as kfp.address:
        monkeypatch.delenv("KF_PIPELINES_TOKEN")
        monkeypatch.setenv("KF_PIPELINES_COOKIES", "authservice_session=c00kie")
        assert put(connect(kfp), spec).new
    shown = capfd.readouterr()
    assert "t0ken" not in shown.out + shown.err and shown.out == ""
    assert without_credentials("https://me:pw@kf.example/pipeline") == "https://kf.example/pipeline"


def test_a_service_account_token_is_read_again(spec: pathlib.Path, tmp_path: pathlib.Path) -> None:
    kfp = Kfp("2.17.0", token="first")
    token = tmp_path / "token"
    token.write_text("first", "utf-8")
    with kfp.serving() as kfp.address:
        cluster = connect(kfp, service_account_token=str(token))
        put(cluster, spec)
        kfp.token = "rotated"
        token.write_text("rotated", "utf-8")
        assert not put(cluster, spec).new


def test_a_namespace_is_asked_for(spec: pathlib.Path) -> None:
    kfp = Kfp("2.0.5", multi_user=True)
    with kfp.serving() as kfp.address:
        cluster = connect(kfp)
        with pytest.raises(ClusterError) as refused:
            cluster.start(put(cluster, spec), "taxi-1", {})
        assert "--namespace" in refused.value.reason.next
        cluster = connect(kfp, namespace="ml-team")
        assert cluster.start(put(cluster, spec), "taxi-1", {})[1]
    assert [e["namespace"] for e in kfp.experiments.values()] == ["ml-team"]


def test_nobody_there() -> None:
    options = ClusterOptions(host="http://127.0.0.1:9", timeout_seconds=0.5, attempts=2)
    with pytest.raises(Unavailable) as error:
        Cluster(options)
    assert "port-forward" in error.value.reason.next
    assert "Connection refused" in error.value.reason.message
    assert "object at" not in error.value.reason.message
    with pytest.raises(ConfigError) as wrong:
        Cluster(ClusterOptions(host="https://kube flow", attempts=2))
    assert wrong.value.reason.code == "WRONG_HOST"
    with pytest.raises(ConfigError, match="No Kubeflow Pipelines is named"):
        Cluster(ClusterOptions())
    with pytest.raises(ConfigError, match="no file of certificate"):
        Cluster(ClusterOptions(host="http://127.0.0.1:9", ca_file="/no/such.pem"))


def test_packages(tmp_path: pathlib.Path, spec: pathlib.Path) -> None:
    package = read_package(spec)
    assert (package.name, package.parameters) == ("taxi", {"data-path": "STRING"})
    assert parameter_values(package, {"data-path": "1"}) == {"data-path": "1"}
    with pytest.raises(ConfigError, match="Did you mean"):
        parameter_values(package, {"data-pat": "1"})
    for content in ("", "a: [", "{}", "- 1", "pipelineInfo: {name: x}"):
        (tmp_path / "bad.yaml").write_text(content, "utf-8")
        with pytest.raises(ConfigError) as error:
            read_package(tmp_path / "bad.yaml")
        assert error.value.reason.code == "NOT_A_SPEC"
    with pytest.raises(ConfigError, match="no compiled spec"):
        read_package(tmp_path / "none.yaml")


def test_parameters_have_their_types(tmp_path: pathlib.Path) -> None:
    kinds = {"n": "NUMBER_INTEGER", "x": "NUMBER_DOUBLE", "b": "BOOLEAN", "l": "LIST"}
    package = Package(tmp_path, "taxi", "0", kinds)
    values = parameter_values(package, {"n": "3", "x": "0.5", "b": "True", "l": "[1]"})
    assert values == {"n": 3, "x": 0.5, "b": True, "l": [1]}
    for name, text in (("n", "3.5"), ("x", "a"), ("b", "1"), ("l", "[")):
        with pytest.raises(ConfigError) as error:
            parameter_values(package, {name: text})
        assert error.value.reason.code == "WRONG_PARAMETER"


@pytest.mark.parametrize(
    ("said", "meant"),
    [("30 4 * * 1", "0 30 4 * * 1"), ("0 30 4 * * 1", "0 30 4 * * 1"), ("@daily", "0 0 0 * * *"),
     ("*/15 9-17 ? * MON-FRI", "0 */15 9-17 ? * MON-FRI")],
)  # fmt: skip
def test_cron(said: str, meant: str) -> None:
    assert six_fields(said) == meant


@given(st.text(max_size=30))
def test_cron_of_any_text_is_right_or_refused(text: str) -> None:
    try:
        fields = six_fields(text).split()
    except ConfigError as error:
        assert error.reason.code == "WRONG_CRON"
    else:
        assert len(fields) == 6


@pytest.mark.parametrize(
    "wrong", ["61 * * * *", "* * * *", "0 25 * * *", "*/0 * * * *", "5-1 * * * *"]
)
def test_wrong_cron_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError) as error:
        six_fields(wrong)
    assert error.value.reason.code == "WRONG_CRON"
