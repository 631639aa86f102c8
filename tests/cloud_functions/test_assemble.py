from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import httpx
import pytest

from cloud_functions import assemble
from cloud_functions.local import NAMES, free_port
from cloud_functions.settings_file import PLACES
from models.errors import ConfigError, FlywheelError
from tests.cloud_functions.conftest import ROW, settings_in
from tests.cloud_functions.test_predict import wait_until

HEAVY = ("tensorflow", "tf_keras", "tfx", "tensorflow_data_validation", "apache_beam", "kfp")
_LOAD = """
import runpy, sys
before = set(sys.modules)
runpy.run_path("main.py", run_name="main")
outside = [m.__file__ for n, m in sys.modules.items()
           if n.split(".")[0] in ("models", "monitoring", "cloud_functions")
           and not (m.__file__ or sys.argv[1]).startswith(sys.argv[1])]
print(*[name for name in %r if name in sys.modules], *outside)
"""


@pytest.mark.parametrize("name", NAMES)
def test_what_is_assembled_is_enough_and_light(tmp_path, name):
    target = tmp_path / name
    files = assemble.build(name, settings_in(tmp_path), target)
    assert {"main.py", "requirements.txt", "README.md", "settings.json"} <= {
        f.as_posix() for f in files
    }
    assert not any(f.parts[0] in ("pipeline", "custom_components", "tests") for f in files)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD % (HEAVY,), str(target)],
        cwd=target,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_assembled_predict_function_answers(tmp_path, deployed):
    target = tmp_path / "built"
    assemble.build("predict", deployed.settings, target)
    port = free_port()
    process = subprocess.Popen(
        [*(sys.executable, "-m", "functions_framework", "--target", "predict"), f"--port={port}"],
        cwd=target,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/ready").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, 60)
        answer = httpx.post(f"{url}/predict", json={"instances": [ROW]}).json()
        assert answer["model_version"] == deployed.names[0]
    finally:
        process.terminate()
        process.wait(30)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FlywheelError, match="not an earlier build"):
        assemble.build("on_alert", settings_in(tmp_path), tmp_path)
    assert (tmp_path / "mine").read_text() == "x"
    with pytest.raises(ConfigError, match="Did you mean 'on_alert'"):
        assemble.modules("on_alarm")


TERRAFORM = pathlib.Path(__file__).parents[2] / "deploy" / "terraform"


def blocks(kind: str) -> dict:
    import hcl2

    found = {}
    for path in sorted(TERRAFORM.glob("*.tf")):
        for block in hcl2.loads(path.read_text("utf-8")).get(kind, []):
            found.update({name.strip('"'): content for name, content in block.items()})
    return found


def test_terraform_is_formatted_and_parses():
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed here")
    done = subprocess.run(
        ["terraform", f"-chdir={TERRAFORM}", "fmt", "-check", "-diff"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_terraform_validates_where_its_provider_can_be_had(tmp_path):
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed here")
    folder = tmp_path / "terraform"
    shutil.copytree(TERRAFORM, folder, ignore=shutil.ignore_patterns(".terraform*"))

    def terraform(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["terraform", f"-chdir={folder}", *arguments, "-no-color"],
            capture_output=True,
            text=True,
            timeout=600,
        )

    found = terraform("init", "-backend=false", "-input=false")
    if found.returncode and re.search("registry|provider", found.stderr):
        pytest.skip("the Google provider cannot be had here: registry.terraform.io is out of reach")
    assert found.returncode == 0, found.stderr
    done = terraform("validate")
    assert done.returncode == 0, done.stderr


def test_what_terraform_refers_to_is_declared():
    """As far as it can be seen without the provider's schema."""
    text = "\n".join(
        re.sub(r"^\s*#.*", "", p.read_text("utf-8"), flags=re.MULTILINE)
        for p in TERRAFORM.glob("*.tf")
    )
    named = {
        kind: set(re.findall(pattern, text))
        for kind, pattern in (
            ("resource", r"(?<![\w.\"])(google_\w+\.\w+)"),
            ("data", r"(?<![\w.])data\.(google_\w+\.\w+)"),
            ("variable", r"(?<![\w.])var\.(\w+)"),
            ("local", r"(?<![\w.])local\.(\w+)"),
        )
    }
    declared = {
        kind: {".".join(pair) for pair in re.findall(rf'^{kind} "(\w+)" "(\w+)"', text, re.M)}
        for kind in ("resource", "data")
    }
    declared["variable"] = set(blocks("variable"))
    inside = re.findall(r"^locals \{\n(.*?)^\}", text, re.M | re.S)
    declared["local"] = {n for part in inside for n in re.findall(r"^  (\w+) +=", part, re.M)}
    for kind, names in named.items():
        assert names and names <= declared[kind], (kind, names - declared[kind])


def test_each_function_has_an_account_of_its_own_and_no_role_that_is_too_large():
    text = "\n".join(p.read_text("utf-8") for p in TERRAFORM.glob("*.tf"))
    roles = set(re.findall(r'"(roles/[\w.]+)"', text))
    assert roles and not [
        role for role in roles if re.search(r"owner|editor|admin$|serviceAccountUser", role, re.I)
    ]
    # What the pages tell a person to grant is what terraform grants.
    told = {
        role
        for name in NAMES
        for role in re.findall(
            r"`(roles/[\w.]+)`",
            (assemble.ROOT / "cloud_functions" / name / "README.md").read_text("utf-8"),
        )
    }
    assert told <= roles, told - roles
    assert "service_account                  = google_service_account.function[each.key]" in text


def test_every_variable_of_terraform_is_described_and_used():
    text = "\n".join(p.read_text("utf-8") for p in TERRAFORM.glob("*.tf"))
    variables = blocks("variable")
    assert variables
    for name, content in variables.items():
        assert content.get("description"), name
        assert f"var.{name}" in text, name


def test_terraform_names_every_function():
    text = (TERRAFORM / "main.tf").read_text("utf-8")
    for name in NAMES:
        assert json.dumps(name) in text


@pytest.mark.parametrize("name", NAMES)
def test_every_function_says_how_to_deploy_it(name, tmp_path):
    text = (assemble.ROOT / "cloud_functions" / name / "README.md").read_text("utf-8")
    for part in ("- **Trigger:**", "- **Permissions** (service account", "`roles/"):
        assert part in text
    [commands] = re.findall(r"```sh\n(.*?)```", text, re.S)
    steps = [shlex.split(line) for line in commands.replace("\\\n", " ").splitlines()]
    assert steps[0] == ["flywheel", "functions", "build", name]
    deploy = next(step for step in steps if "deploy" in step)
    given = dict(zip(deploy, deploy[1:], strict=False))
    account = f"flywheel-{name.replace('_', '-')}@$PROJECT.iam.gserviceaccount.com"
    assert given["--service-account"] == account and account.split("@")[0] in text
    # What is deployed is what `build` writes, and the entry point is in it.
    assert given["--source"] == f"build/functions/{name}"
    assert given.get("--function", given.get("--entry-point")) == name
    assemble.build(name, settings_in(tmp_path), tmp_path / "built")
    assert f"def {name}(" in (tmp_path / "built" / "main.py").read_text("utf-8")
    for variables in (b for a, b in zip(deploy, deploy[1:], strict=False) if a == "--set-env-vars"):
        for assignment in variables.split(","):
            assert assignment.split("=")[0] in (*PLACES, "THREADS"), assignment
