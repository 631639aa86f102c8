"""Where the control center listens, and who may use it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from models.options import Options

Role = Literal["viewer", "operator"]


class UserOptions(Options):
    """Someone who may log in."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")] = Field(
        description="Login name; it is what the audit log says."
    )
    role: Role = Field("viewer", description="`viewer` looks, `operator` also changes.")
    password: Annotated[str, Field(pattern=r"^\$argon2id\$")] = Field(
        description="Argon2id hash of the password; `flywheel ui --hash-password` makes one."
    )


def is_safe_url(url: str) -> bool:
    """Whether what is sent there is encrypted, or stays on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")


class OidcOptions(Options):
    """Log in with an OpenID provider. The client's secret is in FLYWHEEL_UI_OIDC_SECRET."""

    issuer: str = Field(
        description="The provider's issuer URL, exactly as it calls itself; its endpoints are "
        "found from there."
    )
    client_id: Annotated[str, Field(min_length=1)] = Field(
        description="Of this application at the provider. Its redirect URI there is "
        "`https://HOST/login/oidc/back`."
    )
    scopes: tuple[str, ...] = Field(
        ("openid", "email"), description="What the provider is asked to tell."
    )
    claim: Annotated[str, Field(min_length=1)] = Field(
        "email",
        description="Claim that names the person, here and in the audit log. An `email` counts "
        "only when the provider has verified it.",
    )
    operators: tuple[str, ...] = Field(
        (),
        description="Who also changes things: names, or, of the claim `email`, `@example.com` for "
        "all of a domain.",
    )
    viewers: tuple[str, ...] = Field(
        (), description="Who looks: names, or domains as for `operators`."
    )

    @field_validator("issuer")
    @classmethod
    def _safe(cls, issuer: str) -> str:
        if not is_safe_url(issuer):
            raise ValueError("must begin with https://")
        return issuer

    def role_of(self, name: str) -> Role | None:
        """What a person may do; None for nothing."""
        mine = {name.lower()}
        if self.claim == "email":  # of other claims people may choose what is behind the @
            mine.add(f"@{name.rpartition('@')[2]}".lower())
        roles: tuple[tuple[Role, tuple[str, ...]], ...] = (
            ("operator", self.operators),
            ("viewer", self.viewers),
        )
        listed = (role for role, names in roles if mine & {entry.lower() for entry in names})
        return next(listed, None)


class ControlCenterOptions(Options):
    """The web application."""

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Any but a loopback address needs `users`, or a token "
        "in the environment variable FLYWHEEL_UI_TOKEN (operator) or FLYWHEEL_UI_VIEWER_TOKEN, or "
        "`oidc`.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8420, description="Port to listen on; 0 takes a free one."
    )
    names: tuple[str, ...] = Field(
        (),
        description="Host names by which browsers reach it, besides `host` and loopback names. A "
        "request for any other name is refused, so that no foreign page can point its own name "
        "here.",
    )
    users: tuple[UserOptions, ...] = Field(
        (),
        description="Who may log in. With neither users nor a token nor `oidc`, whoever reaches "
        "the loopback address is the operator.",
    )
    oidc: OidcOptions | None = Field(
        None, description="Log in with an OpenID provider, beside `users` and tokens or alone."
    )
    session_hours: Annotated[float, Field(gt=0, le=720)] = Field(
        12.0, description="How long a login lasts."
    )
    secure_cookies: bool = Field(
        False, description="Send cookies over HTTPS only; set it behind a proxy that ends TLS."
    )
    data_folders: tuple[str, ...] = Field(
        (),
        description="Folders whose files a run started from the page may read, besides the config "
        "file's own folder and the folder of its `data.path`.",
    )
    upload_bytes: Annotated[int, Field(ge=0)] = Field(
        200_000_000,
        description="Largest table that may be uploaded from the page, unpacked; 0 for none.",
    )
