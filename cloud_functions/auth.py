"""Who calls: OIDC bearer tokens of service accounts.

A token must be signed by one of the issuer's keys, not be expired, name the configured audience
and a verified e-mail that is let in. Keys are fetched once an hour, and once more when a token
names a key that is not among them.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.request
from collections.abc import Mapping

import google.auth.exceptions
import google.auth.jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloud_functions.options import AuthOptions

_SECONDS = 3600
_AGAIN_SECONDS = 30
_TIMEOUT = 10


class Unauthorized(Exception):
    """The call is not let in.

    Args:
      status: 401 when it is not known who calls, 403 when it is.
      message: One sentence.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Keys:
    """An issuer's public keys, by key id.

    Args:
      url: A JWKS, or a JSON object of key id to PEM.
    """

    def __init__(self, url: str):
        self._url = url
        self._lock = threading.Lock()
        self._keys: dict[str, str] = {}
        self._fetched = float("-inf")

    def get(self, key_id: str | None) -> dict[str, str]:
        """Key id to PEM; fetched again when it lacks this one."""
        with self._lock:
            age = time.monotonic() - self._fetched
            if age > _SECONDS or (key_id not in self._keys and age > _AGAIN_SECONDS):
                with urllib.request.urlopen(self._url, timeout=_TIMEOUT) as answer:
                    self._keys = _pem(json.load(answer))
                self._fetched = time.monotonic()
            return self._keys


def _pem(document: dict) -> dict[str, str]:
    if "keys" not in document:
        return document
    return {
        key["kid"]: rsa.RSAPublicNumbers(_integer(key["e"]), _integer(key["n"]))
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
        for key in document["keys"]
        if key.get("kty") == "RSA"
    }


def _integer(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


_keys: dict[str, Keys] = {}


def check(options: AuthOptions, headers: Mapping[str, str]) -> str | None:
    """Lets a caller in.

    Returns:
      The caller's e-mail; None where tokens are not looked at.

    Raises:
      Unauthorized: with the status to answer.
    """
    if options.audience is None:
        return None
    kind, _, token = headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Unauthorized(401, "A bearer token is needed: an OIDC identity token.")
    keys = _keys.setdefault(options.certificates, Keys(options.certificates))
    try:
        header = google.auth.jwt.decode_header(token)
        if header.get("alg") != "RS256":
            raise ValueError("it is not signed with RS256")
        claims = google.auth.jwt.decode(
            token,
            certs=keys.get(header.get("kid")),
            audience=options.audience,
            clock_skew_in_seconds=10,
        )
    except (ValueError, google.auth.exceptions.GoogleAuthError) as error:
        reason = error.args[0] if error.args else "it cannot be read"
        raise Unauthorized(401, f"The token is not valid: {reason}") from None
    if claims.get("iss") not in options.issuers:
        raise Unauthorized(401, "The token is of another issuer.")
    email = claims.get("email")
    if email not in options.accounts or claims.get("email_verified") is not True:
        raise Unauthorized(403, "The token's account is not let in.")
    return email
