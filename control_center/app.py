"""The application: routes, guard and state put together."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from control_center import pages, warm
from control_center.api import (
    automation,
    deploy,
    errors,
    models,
    monitoring,
    provider,
    runs,
    session,
)
from control_center.auth import OPERATOR_TOKEN, SHORTEST_TOKEN, Accounts, LoginBrake, Sessions
from control_center.center import Center, strict_options
from control_center.guard import Guard, is_loopback
from control_center.oidc import Oidc
from control_center.schedules import Clock
from models.errors import ConfigError

_HERE = pathlib.Path(__file__).parent


def create_app(
    config_path: pathlib.Path,
    *,
    host: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> FastAPI:
    """The control center of a config file.

    Args:
      config_path: The config file; it need not exist yet.
      host: Address it is going to listen on; the config's by default.
      environment: Where tokens are looked up.

    Raises:
      ConfigError: PUBLIC_WITHOUT_LOGIN, TOKEN_TOO_SHORT, or a wrong `control_center` section.
    """
    options = strict_options(config_path)
    center = Center(config_path)
    accounts = Accounts(options, environment)
    host = host or options.host
    if not is_loopback(host) and not accounts.needed:
        raise ConfigError(
            "PUBLIC_WITHOUT_LOGIN",
            f"`{host}` can be reached from other machines, and nobody would have to log in.",
            next=f"Set the environment variable {OPERATOR_TOKEN}, or name "
            "`control_center.users` or `control_center.oidc`; or stay with 127.0.0.1 and an SSH "
            "tunnel.",
        )
    if accounts.short_tokens():
        raise ConfigError(
            "TOKEN_TOO_SHORT",
            f"A token of fewer than {SHORTEST_TOKEN} characters can be guessed.",
            next='Make one: `python -c "import secrets; print(secrets.token_urlsafe())"`.',
        )
    clock = Clock(center)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        clock.start()
        warm.begin(center)
        yield
        clock.stop()
        center.standby.close()

    app = FastAPI(
        lifespan=life,
        title="Flywheel control center",
        version="1",
        description="Everything the pages do, for programs. Changes need a session with the "
        "page's CSRF token, or a bearer token.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.center = center
    app.state.accounts = accounts
    app.state.sessions = Sessions(center.own / "secret", accounts, options.session_hours)
    app.state.oidc = (
        Oidc(options.oidc, app.state.sessions.key, environment) if options.oidc else None
    )
    app.state.brake = LoginBrake()
    errors.install(app)
    for router in (
        runs.router,
        models.router,
        session.router,
        session.forms,
        provider.router,
        monitoring.router,
        automation.router,
        deploy.router,
        deploy.looks,
        pages.router,
    ):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    app.add_middleware(
        Guard,
        names=(host, *options.names),
        any_name=host in ("0.0.0.0", "::") and not options.names,
        upload_path="/api/uploads",
        upload_bytes=options.upload_bytes,
        https=options.secure_cookies,
    )
    return app
