"""Keeps pictures of the control center in the documentation.

    python -m tests.control_center.screenshots docs/screenshots [--folder WORKSPACE]
    python -m tests.control_center.screenshots docs/screenshots --newcomer http://localhost:8420

The first takes every page of a workspace that has lived; without a folder it makes one, with
`flywheel functions loop`. The second walks the newcomer's path on a page that `make ui` has just
opened in a fresh clone: it starts the run, waits for its end, and asks the model.
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
    "data": ("/runs/{run}/data?feature=trip_miles#closer", "wide", "light"),
    "automation": ("/automation", "wide", "light"),
    "compare": ("/compare?run={first}&run={run}", "wide", "light"),
    "phone": ("/", "phone", "dark"),
}
_SCROLLED = "id => document.getElementById(id).scrollIntoView({behavior: 'instant'})"
#: A picture may be taken before what was scrolled is drawn.
_DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("target", type=pathlib.Path)
    arguments.add_argument("--folder", type=pathlib.Path)
    arguments.add_argument("--newcomer", metavar="URL")
    given = arguments.parse_args()
    given.target.mkdir(parents=True, exist_ok=True)
    if given.newcomer:
        newcomer(given.newcomer, given.target)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder
        if folder is None:
            folder = pathlib.Path(scratch, "loop")
            Flywheel(pathlib.Path(scratch))("functions", "loop", "--folder", "loop", timeout=1200)
        take(folder, given.target)


def take(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Opens every page of `KEPT` on a workspace and writes one PNG each."""
    server = Server(folder)
    try:
        with server.client() as client:
            runs = [row["id"] for row in client.get("/api/runs").json()["runs"]]
        with chromium() as browser:
            watched = Watched(browser)
            for name, (path, size, scheme) in KEPT.items():
                page = watched.window(size, scheme)
                path, _, place = path.partition("#")
                page.goto(server.url + path.format(run=runs[0], first=runs[-1]))
                if place:  # as the browser would go there, but once everything has its size
                    page.evaluate(_SCROLLED, place)
                page.evaluate(_DRAWN)
                if path == "/run":
                    page.locator("#forecast tr.hit, #forecast tr.miss").first.wait_for()
                _keep(page.screenshot(), target / f"{name}.png")
            watched.close()
            assert not watched.wrong, watched.wrong
    finally:
        server.stop()


def newcomer(url: str, target: pathlib.Path) -> None:
    """From the first page to an answer of the deployed model, one picture per step."""
    with chromium() as browser:
        watched = Watched(browser)
        page = watched.window()

        def keep(name: str) -> None:
            _keep(page.screenshot(), target / f"newcomer-{name}.png")

        page.goto(url)
        keep("1-first-page")
        page.locator("button[data-start], button[data-demo=chicago-taxi]").first.click()
        page.wait_for_url("**/runs/*", timeout=120_000)
        page.locator("#components tr.complete").nth(4).wait_for(timeout=400_000)
        page.locator("#components tr.running").wait_for(timeout=120_000)
        keep("2-running")
        page.locator(".verdict h2", has_text="Pushed").wait_for(timeout=900_000)
        keep("3-pushed")
        page.get_by_role("link", name="ask it").click()
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("#answer meter").first.wait_for(timeout=120_000)
        page.locator("#answer").scroll_into_view_if_needed()
        keep("4-serving")
        watched.close()
        assert not watched.wrong, watched.wrong


def _keep(png: bytes, path: pathlib.Path) -> None:
    """A third of the bytes: pages have few colours."""
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
