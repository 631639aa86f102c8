"""Logging in with an OpenID provider: the authorization code flow, with PKCE, state and nonce.

OpenID Connect Core 1.0, section 3.1. The ID token comes straight from the provider's token
endpoint over TLS, which is what vouches for it (3.1.3.7, rule 6); it never passes through the
browser. What it says is checked all the same: issuer, audience, times, nonce.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
import itsdangerous

from control_center.options import OidcOptions, is_safe_url
from models.errors import FlywheelError

SECRET = "FLYWHEEL_UI_OIDC_SECRET"
COOKIE = "flywheel_oidc"
BACK = "/login/oidc/back"
LOGIN_SECONDS = 600
_TIMEOUT = 10.0
_SKEW_SECONDS = 60
_KEPT_SECONDS = 3600.0
_MOST_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Begun:
    """A login on its way to the provider.

    Attributes:
      url: Where the browser goes.
      cookie: What it must bring back, signed.
    """

    url: str
    cookie: str


class Oidc:
    """The provider of the config.

    Args:
      options: Whose provider, and who may come in.
      key: Signs what the browser keeps during a login.
      environment: Where the client's secret is looked up; a public client has none.
    """

    def __init__(self, options: OidcOptions, key: bytes, environment: Mapping[str, str]):
        self.options = options
        self._signer = itsdangerous.URLSafeTimedSerializer(key, salt="oidc")
        self._secret = environment.get(SECRET, "")
        self._known: tuple[float, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def begin(self, redirect: str) -> Begun:
        """Sends somebody to the provider.

        Args:
          redirect: Our address that the provider sends them back to.

        Raises:
          FlywheelError: OIDC_FAILED.
        """
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        challenge = hashlib.sha256(kept["verifier"].encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self.options.client_id,
            "redirect_uri": redirect,
            "scope": " ".join(self.options.scopes),
            "state": kept["state"],
            "nonce": kept["nonce"],
            "code_challenge": _encoded(challenge),
            "code_challenge_method": "S256",
        }
        address = self._endpoint("authorization_endpoint")
        joint = "&" if "?" in address else "?"
        return Begun(f"{address}{joint}{urlencode(query)}", self._signer.dumps(kept))

    def finish(self, cookie: str | None, state: str, code: str, redirect: str) -> str:
        """Who came back.

        Args:
          cookie: What `begin` gave the browser.
          state, code: What the provider sent along.
          redirect: As in `begin`.

        Returns:
          The person's name, as the configured claim has it.

        Raises:
          FlywheelError: OIDC_FAILED.
        """
        try:
            kept = self._signer.loads(cookie or "", max_age=LOGIN_SECONDS)
        except itsdangerous.BadData:
            raise _failed("the login was not begun in this browser, or too long ago") from None
        if not hmac.compare_digest(kept["state"].encode(), state.encode()):
            raise _failed("the answer belongs to another login")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "client_id": self.options.client_id,
            "code_verifier": kept["verifier"],
        }
        if self._secret:
            form["client_secret"] = self._secret
        answer = self._asked("POST", self._endpoint("token_endpoint"), data=form)
        return self._name(_claims(answer.get("id_token")), kept["nonce"])

    def _name(self, claims: dict[str, Any], nonce: str) -> str:
        options, now = self.options, time.time()
        audience = claims.get("aud")
        audience = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != options.issuer:
            raise _failed("the token is of another issuer")
        if options.client_id not in audience:
            raise _failed("the token is for another client")
        if len(audience) > 1 and claims.get("azp") != options.client_id:
            raise _failed("the token was given to another client")
        ends = claims.get("exp")
        if not isinstance(ends, (int, float)) or ends < now - _SKEW_SECONDS:
            raise _failed("the token is no longer valid")
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise _failed("the token belongs to another login")
        name = claims.get(options.claim)
        if not isinstance(name, str) or not name:
            raise _failed(f"the token has no claim `{options.claim}`")
        if options.claim == "email" and claims.get("email_verified") is not True:
            raise _failed("the provider has not verified the address")
        return name

    def _endpoint(self, name: str) -> str:
        found = self._discovered().get(name)
        if not isinstance(found, str) or not is_safe_url(found):
            raise _failed(f"the provider names no safe `{name}`")
        return found

    def _discovered(self) -> dict[str, Any]:
        with self._lock:
            known = self._known
        if known and time.monotonic() - known[0] < _KEPT_SECONDS:
            return known[1]
        issuer = self.options.issuer
        found = self._asked("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise _failed(f"the provider calls itself {str(found.get('issuer'))[:100]!r}")
        with self._lock:
            self._known = (time.monotonic(), found)
        return found

    def _asked(self, method: str, url: str, **content: Any) -> dict[str, Any]:
        try:
            answer = httpx.request(method, url, timeout=_TIMEOUT, **content)
            answer.raise_for_status()
            found = answer.json() if len(answer.content) <= _MOST_BYTES else None
        except httpx.HTTPStatusError as error:
            raise _failed(f"the provider answered {error.response.status_code}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise _failed(f"the provider cannot be asked ({type(error).__name__})") from None
        if not isinstance(found, dict):
            raise _failed("the provider's answer cannot be read")
        return found


def _failed(why: str) -> FlywheelError:
    return FlywheelError(
        "OIDC_FAILED",
        f"The login did not succeed: {why}.",
        next="Begin it again; if that does not help, see `control_center.oidc` in the config.",
    )


def _claims(token: Any) -> dict[str, Any]:
    """What an ID token says; its signature is not what vouches for it, see above."""
    try:
        part = str(token).split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise _failed("the provider gave no ID token")
    return found


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
