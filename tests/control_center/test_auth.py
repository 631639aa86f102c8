"""Who may come in, and as whom."""

from __future__ import annotations

import pytest
import yaml

from control_center.app import create_app
from control_center.auth import Accounts, LoginBrake, Sessions
from control_center.options import ControlCenterOptions
from models.errors import ConfigError
from tests.control_center.conftest import PASSWORD, Asked, logged_in

TOKEN = "a-token-of-enough-length"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "flywheel.example.org"])
def test_a_public_address_needs_a_login(folder, host):
    with pytest.raises(ConfigError) as error:
        create_app(folder / "flywheel.yaml", host=host, environment={})
    assert error.value.reason.code == "PUBLIC_WITHOUT_LOGIN"
    create_app(folder / "flywheel.yaml", host=host, environment={"FLYWHEEL_UI_TOKEN": TOKEN})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_a_loopback_address_does_not(folder, host):
    create_app(folder / "flywheel.yaml", host=host, environment={})


def test_a_short_token_is_refused(folder):
    with pytest.raises(ConfigError) as error:
        create_app(folder / "flywheel.yaml", environment={"FLYWHEEL_UI_TOKEN": "hunter2"})
    assert error.value.reason.code == "TOKEN_TOO_SHORT"


def test_users_count_even_when_the_rest_of_the_config_is_wrong(folder, hashed):
    path = folder / "flywheel.yaml"
    text = {"control_center": {"users": [{"name": "ann", "password": hashed}]}, "nonsense": 1}
    path.write_text(yaml.safe_dump(text), "utf-8")
    client = Asked(folder).client()
    assert client.get("/api/runs").status_code == 401
    path.write_text("control_center: {users: nobody}", "utf-8")
    with pytest.raises(ConfigError):
        create_app(path, environment={})


def test_nothing_is_shown_without_login(guarded):
    client = guarded.client()
    schema = guarded.app.openapi()
    for path, operations in schema["paths"].items():
        for method in operations:
            url = path.replace("{", "").replace("}", "")
            assert client.request(method, url).status_code == 401, (method, path)
    for page in ("/", "/runs", "/run", "/models", "/why", "/audit", "/runs/x", "/monitoring"):
        answer = client.get(page, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login"), page


def test_roles(guarded):
    for name, role in (("ann", "operator"), ("bob", "viewer")):
        client = logged_in(guarded, name)
        assert client.get("/api/me").json() == {"user": name, "role": role}
    viewer = logged_in(guarded, "bob")
    for path, operations in guarded.app.openapi()["paths"].items():
        for method in set(operations) - {"get"}:
            url = path.replace("{", "").replace("}", "")
            answer = viewer.request(method, url, json={})
            assert answer.status_code == 403, (method, path)
            assert answer.json()["error"]["code"] == "NOT_ALLOWED"
    refused = [e for e in guarded.center.audit.read() if e["outcome"] == "NOT_ALLOWED"]
    assert refused and all(e["user"] == "bob" for e in refused)


def test_wrong_guesses_are_braked_by_source_and_by_name(guarded):
    client = guarded.client()
    for _ in range(5):
        answer = client.login(name="ann", password="wrong")
        assert "is wrong" in answer.text
    assert "Too many wrong tries" in client.login(name="ann", password=PASSWORD).text
    assert client.get("/api/me").status_code == 401


def test_wrong_tokens_are_braked(guarded):
    client = guarded.client()
    statuses = [
        client.get("/api/me", headers={"authorization": f"Bearer wrong{n}"}).status_code
        for n in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2


def test_a_token_needs_no_csrf_token_and_logs_in(guarded):
    client = guarded.client()
    client.headers.pop("x-csrf-token")
    client.cookies.clear()
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/me", headers=bearer).json()["role"] == "operator"
    answer = client.post("/api/config/check", json={"config": "a: 1"}, headers=bearer)
    assert answer.status_code == 200
    assert client.login(token=TOKEN).status_code == 200
    assert client.get("/api/me").json()["user"] == "token-operator"


def test_the_cookie_is_out_of_reach(guarded):
    client = guarded.client()
    page = client.open("/login").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    answer = client.post(
        "/login",
        data={"csrf": csrf, "name": "ann", "password": PASSWORD},
        follow_redirects=False,
    )
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie


def test_login_itself_needs_the_pages_token(guarded):
    client = guarded.client()
    client.post("/login", data={"csrf": "", "name": "ann", "password": PASSWORD})
    assert client.get("/api/me").status_code == 401


def test_sessions_end(tmp_path, hashed):
    options = ControlCenterOptions(users=({"name": "ann", "password": hashed},))
    accounts = Accounts(options, {})
    sessions = Sessions(tmp_path / "secret", accounts, hours=1)
    cookie = sessions.new(accounts.by_password("ann", PASSWORD))
    assert sessions.user(cookie).name == "ann"
    assert sessions.user(cookie[:-2] + "xx") is None
    assert sessions.user(sessions.new()) is None, "a session without login is nobody's"
    promoted = ControlCenterOptions(
        users=({"name": "ann", "password": hashed, "role": "operator"},)
    )
    again = Sessions(tmp_path / "secret", Accounts(promoted, {}), hours=1)
    assert again.user(cookie) is None, "a changed role or password ends old sessions"
    other = Sessions(tmp_path / "other", accounts, hours=1)
    assert other.user(cookie) is None, "another secret"
    expired = Sessions(tmp_path / "secret", accounts, hours=-1)
    assert expired.user(cookie) is None
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


def test_logout(guarded):
    client = logged_in(guarded, "ann")
    csrf = client.headers["x-csrf-token"]
    client.post("/logout", data={"csrf": "wrong"})
    assert client.get("/api/me").status_code == 200, "a foreign page logs nobody out"
    client.post("/logout", data={"csrf": csrf})
    assert client.get("/api/me").status_code == 401


def test_the_brake_forgets_after_a_success():
    brake = LoginBrake()
    for _ in range(4):
        brake.failed("a")
    assert brake.wait("a") == 0
    brake.failed("a")
    assert 0 < brake.wait("a") <= 61
    assert brake.wait("b") == 0
    brake.forget("a")
    assert brake.wait("a") == 0
