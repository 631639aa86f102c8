"""Logging in with an OpenID provider: one that speaks the protocol, on a port of this machine."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pydantic
import pytest
import yaml

from control_center.app import create_app
from control_center.options import OidcOptions
from models.errors import ConfigError
from tests.control_center.conftest import PASSWORD, Asked, logged_in
from tests.control_center.serving import Server

CLIENT, SECRET = "flywheel", "the client's own secret"
PERSON = {"email": "ann@example.com", "email_verified": True}


class Provider(http.server.ThreadingHTTPServer):
    """Discovery, authorization and token endpoints; whoever comes is `person`.

    It is strict: a code is good once, for the client's secret, the same redirect URI, and the
    verifier whose challenge it was asked with.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Endpoints)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.person = dict(PERSON)
        self.claims: dict[str, object] = {}
        self.discovery: dict[str, object] = {}
        self.codes: dict[str, dict[str, str]] = {}


class Endpoints(http.server.BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self):
        parts = urlsplit(self.path)
        if parts.path == "/.well-known/openid-configuration":
            issuer = self.server.issuer
            found = {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
            }
            self._say({**found, **self.server.discovery})
        elif parts.path == "/authorize":
            asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
            code = f"code-{len(self.server.codes)}"
            self.server.codes[code] = asked
            self.send_response(302)
            back = f"{asked['redirect_uri']}?code={code}&state={asked['state']}"
            self.send_header("location", back)
            self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        form = {k: v[0] for k, v in parse_qs(body).items()}
        asked = self.server.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        good = (
            self.path == "/token"
            and asked is not None
            and form.get("grant_type") == "authorization_code"
            and form.get("client_secret") == SECRET
            and form.get("redirect_uri") == asked["redirect_uri"]
            and asked["code_challenge_method"] == "S256"
            and _encoded(digest) == asked["code_challenge"]
        )
        if not good:
            self._say({"error": "invalid_grant"}, 400)
            return
        claims = {
            "iss": self.server.issuer,
            "aud": asked["client_id"],
            "exp": time.time() + 300,
            "nonce": asked["nonce"],
            **self.server.person,
            **self.server.claims,
        }
        token = ".".join(_encoded(json.dumps(part).encode()) for part in ({}, claims, {}))
        self._say({"id_token": token, "token_type": "Bearer"})

    def _say(self, found, status=200):
        body = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def provider():
    found = Provider()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture
def asked(folder, provider, hashed) -> Asked:
    path = folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    config["control_center"] = {
        "users": [{"name": "eve@example.com", "password": hashed}],
        "oidc": {
            "issuer": provider.issuer,
            "client_id": CLIENT,
            "operators": ["Ann@example.com", "eve@example.com"],
            "viewers": ["@example.com"],
        },
    }
    path.write_text(yaml.safe_dump(config), "utf-8")
    return Asked(folder, FLYWHEEL_UI_OIDC_SECRET=SECRET)


def go_there(client) -> str:
    """Follows the button to the provider; where that sends the browser back to."""
    begun = client.get("/login/oidc", follow_redirects=False)
    assert begun.status_code == 303
    with httpx.Client(trust_env=False) as browser:
        return browser.get(begun.headers["location"]).headers["location"]


def come_back(client, back: str):
    return client.get(back, follow_redirects=True)


def test_a_person_comes_in_and_is_named(asked):
    client = asked.client()
    assert 'href="/login/oidc"' in client.get("/login").text
    assert "Is everything all right?" in come_back(client, go_there(client)).text
    assert client.get("/api/me").json() == {"user": "ann@example.com", "role": "operator"}
    client.open("/")
    assert client.post("/api/schedules", json={"cron": "0 4 * * *"}).status_code < 300
    newest = asked.center.audit.read()[0]
    assert newest["user"] == "ann@example.com"


def test_in_a_browser(asked, watched):
    """Its rules about cookies and redirects, not ours."""
    server = Server(asked.folder, FLYWHEEL_UI_OIDC_SECRET=SECRET)
    try:
        page = watched.window()
        page.goto(server.url)
        page.get_by_role("link", name="Log in with").click()
        page.get_by_role("heading", name="Is everything all right?").wait_for()
        assert "ann@example.com" in page.locator(".foot").inner_text()
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Log in").wait_for()
    finally:
        server.stop()


def test_a_domain_may_look(asked, provider):
    provider.person["email"] = "bob@example.com"
    client = asked.client()
    come_back(client, go_there(client))
    assert client.get("/api/me").json() == {"user": "bob@example.com", "role": "viewer"}


@pytest.mark.parametrize(
    "person",
    [
        {"email": "mallory@example.com.evil.org"},
        {"email": "mallory@evil.org"},
        {"email": "ann@example.com", "email_verified": False},
        {"email": "ann@example.com", "email_verified": None},
        {"email": ["ann@example.com"]},
        {"email": ""},
        {"email": "x" * 300 + "@example.com"},
    ],
)
def test_others_do_not(asked, provider, person):
    provider.person |= person
    client = asked.client()
    assert "Log in" in come_back(client, go_there(client)).text
    assert client.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"aud": [CLIENT, "another client"], "azp": "another client"},
        {"exp": 1.0},
        {"exp": None},
        {"nonce": "of another login"},
        {"nonce": None},
    ],
)
def test_a_token_that_is_not_for_this_login_is_refused(asked, provider, claims):
    provider.claims |= claims
    client = asked.client()
    assert "did not succeed" in come_back(client, go_there(client)).text
    assert client.get("/api/me").status_code == 401
    assert asked.center.audit.read()[0]["outcome"] == "OIDC_FAILED"


def test_a_login_begun_elsewhere_is_refused(asked):
    """Nobody is logged in as somebody else by following their link."""
    back = go_there(asked.client())
    victim = asked.client()
    assert "did not succeed" in come_back(victim, back).text
    go_there(victim)
    assert "did not succeed" in come_back(victim, back).text, "state of another login"
    assert victim.get("/api/me").status_code == 401


def test_a_code_is_good_once(asked):
    client = asked.client()
    back = go_there(client)
    begun = {c.name: c.value for c in client.cookies.jar}
    come_back(client, back)
    thief = asked.client()
    thief.cookies.update(begun)
    come_back(thief, back)
    assert thief.get("/api/me").status_code == 401


def test_vain_tries_are_braked(asked):
    client = asked.client()
    for _ in range(5):
        client.get("/login/oidc/back", params={"state": "x", "code": "y"})
    assert "Too many wrong tries" in come_back(client, go_there(client)).text


def test_an_account_here_is_not_taken_over(asked, provider):
    """Eve has a password and looks; at the provider nobody becomes her, or an operator as her."""
    provider.person["email"] = "eve@example.com"
    client = asked.client()
    assert "may not use" in come_back(client, go_there(client)).text
    assert client.get("/api/me").status_code == 401
    assert logged_in(asked, "eve@example.com").get("/api/me").json()["role"] == "viewer"
    assert PASSWORD not in json.dumps(asked.center.audit.read())


def test_a_session_ends_with_the_right_to_it(asked, folder):
    client = asked.client()
    come_back(client, go_there(client))
    path = folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    config["control_center"]["oidc"]["operators"] = []
    path.write_text(yaml.safe_dump(config), "utf-8")
    later = Asked(folder, FLYWHEEL_UI_OIDC_SECRET=SECRET).client()
    later.cookies.update({c.name: c.value for c in client.cookies.jar})
    assert later.get("/api/me").status_code == 401


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://elsewhere.example"},
        {"authorization_endpoint": "http://elsewhere.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
    ],
)
def test_a_provider_that_is_not_right_is_not_followed(asked, provider, discovery):
    provider.discovery |= discovery
    answer = asked.client().get("/login/oidc", follow_redirects=False)
    assert answer.headers["location"] == "/login?problem=oidc"


def test_a_provider_that_is_down_costs_a_sentence(asked, provider):
    provider.shutdown()
    provider.server_close()
    answer = asked.client().get("/login/oidc", follow_redirects=True)
    assert answer.status_code == 200 and "did not succeed" in answer.text


def test_it_is_a_login_for_a_public_address(folder):
    path = folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    about = {"issuer": "https://id.example.com", "client_id": CLIENT, "viewers": ["@example.com"]}
    config["control_center"] = {"oidc": about}
    path.write_text(yaml.safe_dump(config), "utf-8")
    create_app(path, host="0.0.0.0", environment={})
    client = Asked(folder).client()
    assert client.get("/api/runs").status_code == 401
    page = client.get("/login").text
    assert "Log in with id.example.com" in page and "password" not in page.lower()
    config["control_center"]["oidc"]["issuer"] = "http://id.example.com"
    path.write_text(yaml.safe_dump(config), "utf-8")
    with pytest.raises(ConfigError, match="https"):
        create_app(path, environment={})


def test_of_other_claims_a_domain_says_nothing():
    about = {"issuer": "https://id.example.com", "client_id": CLIENT, "viewers": ["@example.com"]}
    assert OidcOptions(**about).role_of("x@example.com") == "viewer"
    assert OidcOptions(**about, claim="preferred_username").role_of("x@example.com") is None
    with pytest.raises(pydantic.ValidationError):
        OidcOptions(**{**about, "issuer": "ftp://id.example.com"})
