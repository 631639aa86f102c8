"""Google's Identity-Aware Proxy: kfp's own exchange of a service account's key for a token.

The endpoint of tokens is a fixed address of Google's; a proxy of the test's leads there to a server
of the test's, which checks what it is asked as Google does: signature, audience, and grant.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from google.auth import jwt

from tests.conftest import Flywheel
from tests.pipeline.cluster.certificates import identity
from tests.pipeline.cluster.server import Kfp
from tests.pipeline.cluster.test_cluster import SPEC

_GOOGLE = "www.googleapis.com"
_TOKENS = f"https://{_GOOGLE}/oauth2/v4/token"
#: What an assertion must be addressed to, whichever of its endpoints gets it.
_AUDIENCE = "https://oauth2.googleapis.com/token"
_CLIENT = "1234.apps.googleusercontent.com"


class _Tokens(http.server.BaseHTTPRequestHandler):
    """Google's token endpoint."""

    public: bytes

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        form = parse_qs(self.rfile.read(length).decode())
        claims = jwt.decode(form["assertion"][0], certs=self.public, audience=_AUDIENCE)
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        answer: dict[str, Any] = {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}
        if "target_audience" in claims:
            answer = {"id_token": "s3cr3t"}
            if claims["target_audience"] != _CLIENT:
                answer = {"error": "invalid_audience", "error_description": "no such client"}
        body = json.dumps(answer).encode()
        self.send_response(400 if "error" in answer else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Proxy(socketserver.StreamRequestHandler):
    """Leads every CONNECT to one port of this machine."""

    port: int

    def handle(self) -> None:
        assert self.rfile.readline().startswith(f"CONNECT {_GOOGLE}:443 ".encode())
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(("127.0.0.1", self.port)) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
            back.start()
            _copy(self.connection, there)
            back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def google(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Google's token endpoint in the place of Google's, and a service account known to it."""
    key, certificate = identity(_GOOGLE)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "ca.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    tokens = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Tokens", (_Tokens,), {"public": certificate})
    )
    tokens.socket = context.wrap_socket(tokens.socket, server_side=True)
    proxy = socketserver.ThreadingTCPServer(
        ("127.0.0.1", 0), type("Proxy", (_Proxy,), {"port": tokens.server_port})
    )
    proxy.daemon_threads = True
    for server in (tokens, proxy):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    account = {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "tester@my-project.iam.gserviceaccount.com",
        "token_uri": _TOKENS,
    }
    (tmp_path / "account.json").write_text(json.dumps(account), "utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("HOME", str(tmp_path))  # kfp keeps tokens there
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield
    for server in (proxy, tokens):
        server.shutdown()
        server.server_close()


@pytest.fixture
def kfp(flywheel: Flywheel) -> Iterator[Kfp]:
    """A cluster that lets in whoever has Google's token."""
    (flywheel.folder / "pipeline.yaml").write_text(SPEC, "utf-8")
    kfp = Kfp("2.17.0", token="s3cr3t")
    with kfp.serving() as kfp.address:
        yield kfp


def _configure(flywheel: Flywheel, kfp: Kfp, client: str) -> None:
    (flywheel.folder / "flywheel.yaml").write_text(
        "version: 1\nname: taxi\ndata: {path: t.csv}\ntask: {label: y, type: regression}\n"
        "features: {x: numeric}\n"
        f"kubeflow: {{cluster: {{host: '{kfp.address}', iap_client_id: {client}}}}}\n",
        "utf-8",
    )


def test_a_service_account_comes_through(flywheel: Flywheel, google: None, kfp: Kfp) -> None:
    _configure(flywheel, kfp, _CLIENT)
    done = flywheel.json("deploy", "pipeline.yaml", "--wait", "--poll-seconds", "0.05")
    assert done["state"] == "SUCCEEDED"
    assert kfp.violations == []


def test_one_that_google_refuses_is_told_so(flywheel: Flywheel, google: None, kfp: Kfp) -> None:
    _configure(flywheel, kfp, "another.apps.googleusercontent.com")
    done = flywheel("deploy", "pipeline.yaml", check=1)
    assert "NOT_LOGGED_IN" in done.stderr and "no such client" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_credentials_it_says_where_they_come_from(
    flywheel: Flywheel, google: None, kfp: Kfp, monkeypatch: pytest.MonkeyPatch
) -> None:
    _configure(flywheel, kfp, _CLIENT)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(flywheel.folder / "absent.json"))
    done = flywheel("deploy", "pipeline.yaml", check=1)
    assert "NOT_LOGGED_IN" in done.stderr and "absent.json" in done.stderr
    assert "Traceback" not in done.stderr
