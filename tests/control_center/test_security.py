"""The attack surface of such tools, attacked."""

from __future__ import annotations

import io
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from control_center import proposal
from models.errors import ConfigError
from tests.control_center import workspaces
from tests.control_center.conftest import Asked
from tests.pipeline.report_files import hostile_names
from tests.pipeline.report_runs import RUN_ID

PAGES = (
    "/", "/run", "/runs", "/models", "/why", "/monitoring", "/automation", "/deploy", "/scorecard",
    "/audit", "/compare",
)  # fmt: skip


def run_pages(run_id=RUN_ID):
    tabs = ("", "/data", "/training", "/evaluation", "/variants", "/files", "/log")
    return [f"/runs/{run_id}{tab}" for tab in tabs]


def test_foreign_names_do_not_reach_us(asked):
    client = asked.client()
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::", "localhost@evil.example"):
        assert client.get("/", headers={"host": host}).status_code == 421, host
    for host in ("localhost:8420", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert client.get("/", headers={"host": host}).status_code == 200, host


def test_foreign_pages_change_nothing(asked):
    client = asked.client()
    own = {"origin": "http://127.0.0.1"}
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {**own, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = client.post("/api/runs", json={}, headers=headers)
        assert answer.json()["error"]["code"] == "FOREIGN_ORIGIN", headers
    answer = client.post("/api/config/check", json={"config": "a: 1"}, headers=own)
    assert answer.status_code == 200


def test_every_change_needs_the_pages_token(asked):
    client = asked.client()
    right = client.headers.pop("x-csrf-token")
    other = asked.client().headers["x-csrf-token"]
    for path, operations in asked.app.openapi()["paths"].items():
        for method in set(operations) - {"get"}:
            url = path.replace("{", "").replace("}", "")
            for token in (None, "", other, right[:-1], "é"):
                headers = {} if token is None else {"x-csrf-token": token.encode()}
                answer = client.request(method, url, json={}, headers=headers)
                assert answer.status_code == 403, (method, path, token)
                assert answer.json()["error"]["code"] == "CSRF"
    client.cookies.clear()
    answer = client.post("/api/runs", json={}, headers={"x-csrf-token": right})
    assert answer.status_code == 401


def test_headers(asked):
    workspaces.add_run(asked.folder)
    client = asked.client()
    for page in (*PAGES, *run_pages(), "/api/runs", "/api/nothing", "/static/app.css"):
        headers = client.get(page).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy, page
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
    report = client.get(f"/api/runs/{RUN_ID}/report")
    if report.status_code == 200:
        assert "sandbox" in report.headers["content-security-policy"]


def check_markup(text: str, path: str) -> None:
    """No script, handler, frame, picture or style but ours; whatever names the page holds."""
    scripts = re.findall(r"<script[^>]*>", text)
    assert scripts, path
    for script in scripts:
        assert re.fullmatch(r'<script src="/(static|assets)/[a-z]+\.js\?\w+">', script), path
    markup = re.sub(r'"[^"]*"', '""', text)
    assert not re.search(r"<[a-z][^>]*\son[a-z]+\s*=", markup), path
    assert "<iframe" not in markup and "<img" not in markup and "javascript:" not in markup
    assert not re.search(r"<[^>]*\sstyle\s*=", markup), path


@pytest.mark.parametrize("state", ["pushed", "not_blessed", "blocked_by_data", "failed", "running"])
def test_names_from_data_stay_names(tmp_path, state):
    workspaces.write_config(tmp_path)
    made = workspaces.add_run(tmp_path, state, hostile_names(), task="multiclass", champion=True)
    hostile = hostile_names()
    made.folder.log.write_text(f"{hostile.label} {hostile.numeric}\n</pre><script>x()</script>\n")
    client = Asked(tmp_path).client()
    for path in (*PAGES, *run_pages(), f"/compare?run={RUN_ID}&run={RUN_ID}"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        check_markup(answer.text, path)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2f..%2fsetup.py",
        "/assets/..%2fpage.py",
        f"/api/runs/{RUN_ID}/artifacts/..%2f..%2fresult.json",
        f"/api/runs/{RUN_ID}/artifacts/%2fetc%2fpasswd",
        "/api/runs/..%2f../log",
        "/api/runs/%2e%2e/report",
        "/runs/..%2f..%2fetc",
        "/api/models/..%2f..%2fetc",
        "/api/models/../card",
        "/api/models/%2e%2e/card",
    ],
)
def test_paths_lead_nowhere(asked, path):
    workspaces.add_run(asked.folder)
    answer = asked.client().get(path)
    assert answer.status_code in (404, 405), answer.text
    assert "root:" not in answer.text and "import" not in answer.text


def test_only_files_of_the_run_are_given_out(asked):
    made = workspaces.add_run(asked.folder)
    secret = asked.folder / "secret.txt"
    secret.write_text("do not read")
    output = made.path("Trainer", "model_run", "x").parent
    os.symlink(secret, output / "link.txt")
    os.symlink(asked.folder, output / "folder")
    os.symlink("/etc", made.folder.path / "etc")
    client = asked.client()
    found = client.get(f"/api/runs/{RUN_ID}/artifacts").json()
    names = {(f["component"], f["name"]) for f in found}
    assert ("run", "config.yaml") in names and ("Trainer", "training.json") in names
    assert not any("link" in n or "etc" in n or "folder" in n for _, n in names)
    for file in found:
        answer = client.get(f"/api/runs/{RUN_ID}/artifacts/{file['id']}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert len(answer.content) == file["bytes"]
    other = asked.center.workspace.run("20260302-123005-ab12")
    other.path.mkdir()
    other.config.write_text("name: other\n")
    foreign = client.get(f"/api/runs/{other.id}/artifacts/{found[0]['id']}")
    assert foreign.status_code == 404, "an id of one run is none of another"


def test_an_artifact_elsewhere_is_not_given_out(tmp_path):
    workspaces.write_config(tmp_path)
    made = workspaces.add_run(tmp_path)
    outside = tmp_path / "outside"
    made.workspace = type(made.workspace)(outside)
    made._store.put_artifacts(
        [_moved(a, tmp_path) for a in made._store.get_artifacts() if "Trainer" in a.uri]
    )
    (tmp_path / "training.json").write_text("{}")
    found = Asked(tmp_path).client().get(f"/api/runs/{RUN_ID}/artifacts").json()
    assert found and not [f for f in found if f["component"] == "Trainer"]


def _moved(artifact, folder):
    artifact.uri = str(folder)
    return artifact


@pytest.mark.parametrize(
    "change",
    [
        {"root": "/tmp/elsewhere"},
        {"deploy": {"path": "/tmp/elsewhere"}},
        {"engine": "beam", "beam_args": ["--setup_file=/tmp/x.py"]},
        {"data": {"path": "/etc/passwd"}},
        {"data": {"path": "../../../../etc/*"}},
        {"data": {"path": "http://169.254.169.254/latest/meta-data"}},
        {"data": {"path": "gs://bucket/x.csv"}},
        {"data": {"path": "file:///etc/passwd"}},
        {"data": {"path": ".flywheel/control_center/secret"}},
        {"data": {"path": "link/x.csv"}},
        {"validation": {"schema_path": "/etc/passwd"}},
        {"distillation": {"extra_data": "/etc"}},
        {"monitoring": {"store": "postgresql+pg8000://evil.example/x"}},
        {"control_center": {"host": "0.0.0.0"}},
    ],
)
def test_a_page_cannot_point_a_run_elsewhere(asked, change):
    (asked.folder / "link").symlink_to("/etc")
    text = yaml.safe_dump(
        {**yaml.safe_load((asked.folder / "flywheel.yaml").read_text()), **change}
    )
    with pytest.raises(ConfigError) as error:
        proposal.parse(asked.center, text)
    assert error.value.reason.code == "NOT_FROM_HERE"
    answer = asked.client().post("/api/runs", json={"config": text})
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "NOT_FROM_HERE"
    assert not asked.center.runs.ids(), "nothing was started"


def test_named_folders_are_allowed(asked, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("data")
    path = asked.folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text())
    config["control_center"] = {"data_folders": [str(elsewhere)]}
    path.write_text(yaml.safe_dump(config))
    config["data"] = {"path": str(elsewhere / "*.csv")}
    parsed = proposal.parse(asked.center, yaml.safe_dump(config))
    assert parsed.data.path == str(elsewhere / "*.csv")


def test_yaml_that_grows_is_not_read(asked):
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    with pytest.raises(ConfigError) as error:
        proposal.parse(asked.center, bomb)
    assert error.value.reason.code == "INVALID_YAML"
    with pytest.raises(ConfigError):
        proposal.parse(asked.center, "[" * 100_000)
    with pytest.raises(ConfigError):
        proposal.parse(asked.center, "a: !!python/object/apply:os.system [id]")


def test_bodies_are_limited(asked):
    client = asked.client()
    answer = client.post("/api/config/check", json={"config": "x" * 2_000_000})
    assert answer.status_code == 413

    def pieces():
        for _ in range(30):
            yield b"x" * 100_000

    answer = client.post("/api/config/check", content=pieces())
    assert answer.status_code == 413, "also without a Content-Length"
    answer = client.post("/api/runs", content=b"{}", headers={"content-length": "-1"})
    assert answer.status_code == 400


def upload(client, name, content):
    return client.post("/api/uploads", params={"name": name}, content=content)


def test_uploads(asked):
    client = asked.client()
    answer = upload(client, "../../rows of mine.csv", b"a,b\n1,2\n")
    path = answer.json()["path"]
    assert answer.status_code == 201
    assert os.path.dirname(path) == str(asked.center.own / "uploads")
    assert path.endswith("-rows-of-mine.csv")
    for name in ("x.csv.gz", "x.zip", "x.py", "x", ".csv", "x.parquet.gz"):
        assert upload(client, name, b"data").status_code == 422, name
    assert upload(client, "x.parquet", b"not parquet").status_code == 422
    assert upload(client, "x.csv", b"").status_code == 422
    kept = os.listdir(asked.center.own / "uploads")
    assert kept == [os.path.basename(path)], "nothing refused stays behind"


def test_a_small_file_that_unpacks_large_is_refused(asked):
    path = asked.folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text())
    config["control_center"] = {"upload_bytes": 1_000_000}
    path.write_text(yaml.safe_dump(config))
    client = Asked(asked.folder).client()
    file = io.BytesIO()
    pq.write_table(pa.table({"x": pa.array([0] * 5_000_000)}), file, compression="zstd")
    assert len(file.getvalue()) < 100_000
    assert upload(client, "bomb.parquet", file.getvalue()).status_code == 413
    assert upload(client, "big.csv", b"x" * 1_000_001).status_code == 413
    file = io.BytesIO()
    pq.write_table(pa.table({"x": list(range(1000))}), file)
    assert upload(client, "fine.parquet", file.getvalue()).status_code == 201


def test_errors_tell_nothing_of_the_inside(asked, monkeypatch):
    client = asked.client(errors=False)
    monkeypatch.setattr(type(asked.center.runs), "ids", lambda self: 1 / 0)
    answer = client.get("/api/runs")
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text and "Traceback" not in answer.text
