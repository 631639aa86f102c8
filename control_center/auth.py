"""Who is there: passwords and tokens, signed sessions, and a brake on guessing."""

from __future__ import annotations

import dataclasses
import getpass
import hashlib
import hmac
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Mapping

import argon2
import itsdangerous

from control_center.options import ControlCenterOptions, Role

OPERATOR_TOKEN, VIEWER_TOKEN = "FLYWHEEL_UI_TOKEN", "FLYWHEEL_UI_VIEWER_TOKEN"
SHORTEST_TOKEN = 16
_ATTEMPTS, _WINDOW_SECONDS = 5, 60.0
_MOST_SOURCES = 10_000


@dataclasses.dataclass(frozen=True)
class User:
    """Someone, as far as this request knows.

    Attributes:
      name: For the audit log.
      role: `viewer` or `operator`.
      session: Random name of the browser's session; empty for a bearer token, which no foreign
        page can send and which therefore needs no CSRF token.
    """

    name: str
    role: Role
    session: str = ""

    @property
    def operator(self) -> bool:
        return self.role == "operator"


@dataclasses.dataclass(frozen=True)
class Account:
    """What someone may prove to be: a name with an argon2 hash, or the holder of a token."""

    name: str
    role: Role
    password: str = ""
    token: str = ""

    @property
    def stamp(self) -> str:
        """Changes with the secret, so that old sessions end with it."""
        return hashlib.sha256(f"{self.role}|{self.password}|{self.token}".encode()).hexdigest()[:16]


class Accounts:
    """Everyone who may use the control center.

    Args:
      options: Names and hashes.
      environment: Where tokens are looked up.
    """

    def __init__(self, options: ControlCenterOptions, environment: Mapping[str, str] = os.environ):
        found = [Account(u.name, u.role, password=u.password) for u in options.users]
        roles: tuple[tuple[str, str, Role], ...] = (
            (OPERATOR_TOKEN, "token-operator", "operator"),
            (VIEWER_TOKEN, "token-viewer", "viewer"),
        )
        for variable, name, role in roles:
            token = environment.get(variable, "")
            if token:
                found.append(Account(name, role, token=token))
        self._accounts = {account.name: account for account in found}
        self._oidc = options.oidc
        self._hasher = argon2.PasswordHasher()
        #: Verified against when the name is unknown: both cases take as long.
        self._nobody = self._hasher.hash(secrets.token_urlsafe()) if self._accounts else ""

    @property
    def needed(self) -> bool:
        """Whether anyone has to log in."""
        return self.own or self._oidc is not None

    @property
    def own(self) -> bool:
        """Whether anyone can log in here, with a password or a token."""
        return bool(self._accounts)

    def short_tokens(self) -> bool:
        """Whether a token is so short that it could be guessed."""
        return any(a.token and len(a.token) < SHORTEST_TOKEN for a in self._accounts.values())

    def by_token(self, token: str) -> Account | None:
        found = None
        for account in self._accounts.values():
            if account.token and hmac.compare_digest(account.token.encode(), token.encode()):
                found = account
        return found

    def by_password(self, name: str, password: str) -> Account | None:
        account = self._accounts.get(name)
        known = account.password if account and account.password else ""
        try:
            self._hasher.verify(known or self._nobody, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return None
        return account if known else None

    def by_oidc(self, name: str) -> Account | None:
        """Whom the OpenID provider vouches for; None where the config does not let them in.

        A name that has an account here is that account's: nobody becomes it at the provider.
        """
        role = self._oidc.role_of(name) if self._oidc else None
        if role is None or name in self._accounts:
            return None
        return Account(name, role, password=f"oidc|{self._oidc.issuer}|{self._oidc.client_id}")

    def named(self, name: str, stamp: str) -> Account | None:
        """The account of a session, unless its secret or role has changed since."""
        account = self._accounts.get(name) or self.by_oidc(name)
        return account if account and hmac.compare_digest(account.stamp, stamp) else None


class Sessions:
    """Signed cookies and the CSRF tokens that belong to them.

    Args:
      secret_file: Made with a random content when it is not there; only its owner reads it.
      accounts: Who the sessions belong to.
      hours: How long one lasts.
    """

    COOKIE = "flywheel_session"

    def __init__(self, secret_file: pathlib.Path, accounts: Accounts, hours: float):
        self._secret = _secret(secret_file)
        self._signer = itsdangerous.URLSafeTimedSerializer(self._secret, salt="session")
        self._accounts = accounts
        self.seconds = int(hours * 3600)

    def new(self, account: Account | None = None) -> str:
        """The cookie of a fresh session; without an account, of someone not logged in."""
        content = {"s": secrets.token_urlsafe(12)}
        if account:
            content |= {"n": account.name, "k": account.stamp}
        return self._signer.dumps(content)

    def user(self, cookie: str | None) -> User | None:
        """Whose session it is; None when nobody's.

        Where no login is needed, every session is that of the person at this machine.
        """
        content = self._content(cookie)
        if content is None:
            return None
        if not self._accounts.needed:
            return User(_local_name(), "operator", content["s"])
        account = self._accounts.named(content.get("n", ""), content.get("k", ""))
        return User(account.name, account.role, content["s"]) if account else None

    @property
    def key(self) -> bytes:
        """Signs what else a browser keeps for us."""
        return self._secret

    def csrf(self, cookie: str | None) -> str:
        """The token that changes made with this cookie must carry; empty for a bad cookie."""
        content = self._content(cookie)
        if content is None:
            return ""
        return hmac.new(self._secret, b"csrf|" + content["s"].encode(), hashlib.sha256).hexdigest()

    def _content(self, cookie: str | None) -> dict[str, str] | None:
        if not cookie:
            return None
        try:
            content = self._signer.loads(cookie, max_age=self.seconds)
        except itsdangerous.BadData:
            return None
        return content if isinstance(content, dict) and "s" in content else None


class LoginBrake:
    """At most five wrong guesses a minute, by source and by name."""

    def __init__(self) -> None:
        self._failures: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def wait(self, *keys: str) -> int:
        """Seconds until another try is allowed; 0 for now."""
        now = time.monotonic()
        with self._lock:
            longest = 0.0
            for key in keys:
                recent = [t for t in self._failures.get(key, ()) if now - t < _WINDOW_SECONDS]
                if len(recent) >= _ATTEMPTS:
                    longest = max(longest, _WINDOW_SECONDS - (now - recent[-_ATTEMPTS]))
        return int(longest) + 1 if longest else 0

    def failed(self, *keys: str) -> None:
        now = time.monotonic()
        with self._lock:
            if len(self._failures) > _MOST_SOURCES:
                self._failures = {
                    k: v for k, v in self._failures.items() if now - v[-1] < _WINDOW_SECONDS
                }
            for key in keys:
                recent = [t for t in self._failures.get(key, ()) if now - t < _WINDOW_SECONDS]
                self._failures[key] = [*recent, now][-_ATTEMPTS:]

    def forget(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)


def hash_password(password: str) -> str:
    """What goes into `control_center.users[].password`."""
    return argon2.PasswordHasher().hash(password)


def _local_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "local"


def _secret(path: pathlib.Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        content = path.read_bytes()
        if len(content) >= 32:
            return content
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
    content = secrets.token_hex(32).encode()
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return content
