"""`flywheel ui`: the control center."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from pipeline.cli.app import ConfigOption, DebugOption
from pipeline.workspace import DEFAULT_FILE


def ui(
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: the config's.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on, 0 for a free one. Default: the config's.")
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    hash_password: Annotated[
        bool,
        typer.Option("--hash-password", help="Ask for a password, print its hash, and end."),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Open the control center: run, see and decide everything in a browser.

    Listens on this machine only. Any other address needs `control_center.users`,
    `control_center.oidc`, or a token in FLYWHEEL_UI_TOKEN. Runs that are started from it go on
    when it ends.
    """
    from pipeline.cli.output import out

    if hash_password:
        from control_center.auth import hash_password as hashed

        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        out.print(hashed(password), soft_wrap=True)
        return
    from control_center.server import serve

    serve(config, host=host, port=port, open_browser=open_browser)
