from __future__ import annotations

import base64
import datetime
import http.server
import json
import threading
import time

import google.auth.crypt
import google.auth.jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from cloud_functions import auth
from cloud_functions.options import AuthOptions

AUDIENCE, ACCOUNT = "https://f.example", "scheduler@p.iam.gserviceaccount.com"


def private_pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def b64(number: int) -> str:
    size = (number.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


class Issuer:
    """An issuer's keys over HTTP."""

    def __init__(self, form: str):
        self.form, self.fetched = form, 0
        self.keys = {"k1": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.fetched += 1
                body = json.dumps(issuer.document()).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/certs"

    def document(self) -> dict:
        if self.form == "pem":
            return {kid: certificate(key) for kid, key in self.keys.items()}
        numbers = {kid: key.public_key().public_numbers() for kid, key in self.keys.items()}
        return {
            "keys": [
                {"kid": kid, "kty": "RSA", "alg": "RS256", "n": b64(n.n), "e": b64(n.e)}
                for kid, n in numbers.items()
            ]
        }

    def token(self, kid="k1", key=None, **claims) -> str:
        now = int(time.time())
        signer = google.auth.crypt.RSASigner.from_string(private_pem(key or self.keys[kid]), kid)
        payload = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        return google.auth.jwt.encode(signer, payload).decode()


def certificate(key) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(params=["jwks", "pem"])
def issuer(request):
    made = Issuer(request.param)
    yield made
    made.server.shutdown()
    made.server.server_close()


def options(issuer: Issuer) -> AuthOptions:
    return AuthOptions(audience=AUDIENCE, accounts=(ACCOUNT,), certificates=issuer.url)


def call(issuer: Issuer, token: str):
    return auth.check(options(issuer), {"Authorization": f"Bearer {token}"})


def test_the_right_token_is_let_in_and_keys_are_fetched_once(issuer):
    for _ in range(5):
        assert call(issuer, issuer.token()) == ACCOUNT
    assert issuer.fetched == 1


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": "https://other.example"}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"exp": 1_000_000}, 401),
        ({"iat": 4_000_000_000, "exp": 4_000_000_600}, 401),
        ({"email": "eve@p.iam.gserviceaccount.com"}, 403),
        ({"email_verified": False}, 403),
        ({"email_verified": "true"}, 403),
        ({"email": None}, 403),
    ],
)
def test_a_wrong_claim_is_not(issuer, claims, status):
    with pytest.raises(auth.Unauthorized) as error:
        call(issuer, issuer.token(**claims))
    assert error.value.status == status


def test_a_signature_of_another_key_is_not(issuer):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(auth.Unauthorized) as error:
        call(issuer, issuer.token(key=other))
    assert error.value.status == 401
    header, payload, _ = issuer.token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","kid":"k1"}').rstrip(b"=").decode()
    for token in (f"{header}.{payload}.", f"{none}.{payload}.", "a.b.c", "x", "é.é.é"):
        with pytest.raises(auth.Unauthorized):
            call(issuer, token)


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}]
)
def test_no_token_is_told(issuer, header):
    with pytest.raises(auth.Unauthorized) as error:
        auth.check(options(issuer), header)
    assert error.value.status == 401


def test_a_new_key_is_fetched_when_a_token_names_it(issuer, monkeypatch):
    assert call(issuer, issuer.token()) == ACCOUNT
    issuer.keys["k2"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    monkeypatch.setattr(auth, "_AGAIN_SECONDS", 0)
    assert call(issuer, issuer.token("k2")) == ACCOUNT
    assert issuer.fetched == 2


def test_without_an_audience_nothing_is_looked_at():
    assert auth.check(AuthOptions(), {}) is None
    with pytest.raises(ValueError, match="accounts"):
        AuthOptions(audience=AUDIENCE)
