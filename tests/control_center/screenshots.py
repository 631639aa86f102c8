"""Keeps pictures of the control center in the documentation.

    python -m tests.control_center.screenshots docs/screenshots [--folder WORKSPACE]

Without a folder it makes one: the taxi demo, run once.
"""

from __future__ import annotations

import argparse
import io
import pathlib
import tempfile

from PIL import Image

from tests.conftest import Flywheel
from tests.control_center.browsing import Watched, chromium
from tests.control_center.serving import Server

#: Page to (size, theme).
KEPT = {
    "home": ("/", "wide", "light"),
    "run": ("/runs/{run}", "wide", "light"),
    "start": ("/run", "wide", "light"),
    "variants": ("/runs/{run}/variants", "wide", "dark"),
    "why": ("/why", "wide", "light"),
    "monitoring": ("/monitoring", "wide", "light"),
    "phone": ("/", "phone", "dark"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("target", type=pathlib.Path)
    arguments.add_argument("--folder", type=pathlib.Path)
    given = arguments.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder
        if folder is None:
            folder = pathlib.Path(scratch)
            command = Flywheel(folder)
            command("init", "demo:chicago-taxi")
            command("run")
        take(folder, given.target)


def take(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Opens every page of `KEPT` on a workspace and writes one PNG each."""
    server = Server(folder)
    try:
        with server.client() as client:
            run = client.get("/api/runs").json()["runs"][0]["id"]
        with chromium() as browser:
            watched = Watched(browser)
            for name, (path, size, scheme) in KEPT.items():
                page = watched.window(size, scheme)
                page.goto(server.url + path.format(run=run))
                if path == "/run":
                    page.locator("#forecast tr.hit, #forecast tr.miss").first.wait_for()
                _keep(page.screenshot(), target / f"{name}.png")
            watched.close()
            assert not watched.wrong, watched.wrong
    finally:
        server.stop()


def _keep(png: bytes, path: pathlib.Path) -> None:
    """A third of the bytes: pages have few colours."""
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
