"""Workspaces to look at, and the application over them."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from fastapi.testclient import TestClient

from control_center.app import create_app
from control_center.auth import hash_password
from tests.control_center import workspaces
from tests.control_center.browsing import Watched
from tests.control_center.serving import Manners

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def hashed() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with a table and its config, nothing run yet."""
    workspaces.write_config(tmp_path)
    return tmp_path


class Asked:
    """The application in this process, as someone sees it."""

    def __init__(self, folder: pathlib.Path, **environment: str):
        self.folder = folder
        self.app = create_app(folder / "flywheel.yaml", environment=environment)
        self.center = self.app.state.center

    def client(self, *, errors: bool = True) -> Page:
        """Someone with a page open, on this machine."""
        found = Page(self.app, base_url="http://127.0.0.1", raise_server_exceptions=errors)
        found.open()
        return found


class Page(Manners, TestClient):
    """Talks to the application in this process."""


@pytest.fixture
def asked(folder) -> Asked:
    return Asked(folder)


@pytest.fixture
def guarded(folder, hashed) -> Asked:
    """With a login: ann operates, bob looks."""
    path = folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    config["control_center"] = {
        "users": [
            {"name": "ann", "role": "operator", "password": hashed},
            {"name": "bob", "password": hashed},
        ]
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return Asked(folder, FLYWHEEL_UI_TOKEN="a-token-of-enough-length")


def logged_in(asked: Asked, name: str) -> Page:
    client = asked.client()
    assert client.login(name=name, password=PASSWORD).status_code == 200
    return client


@pytest.fixture
def watched(browser):
    """Windows in which, in the end, nothing may have gone wrong."""
    found = Watched(browser)
    yield found
    found.close()
    assert found.foreign == [], "every request stays on this machine"
    assert found.wrong == []
