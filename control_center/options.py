"""Where the control center listens, and who may use it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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


class ControlCenterOptions(Options):
    """The web application."""

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. Any but a loopback address needs `users`, or a token "
        "in the environment variable FLYWHEEL_UI_TOKEN (operator) or FLYWHEEL_UI_VIEWER_TOKEN.",
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
        description="Who may log in. With neither users nor a token, whoever reaches the loopback "
        "address is the operator.",
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
