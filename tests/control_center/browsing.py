"""Chromium, watched: nothing foreign is fetched, nothing goes wrong unseen."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]
SIZES = {"wide": (1280, 860), "phone": (390, 844)}


@contextlib.contextmanager
def chromium() -> Iterator:
    """A running browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


class Watched:
    """Windows of a browser, and everything that went wrong in them.

    Args:
      browser: Of playwright.
    """

    def __init__(self, browser):
        self._browser = browser
        self._contexts: list = []
        self.wrong: list[str] = []
        self.foreign: list[str] = []

    def window(self, size: str = "wide", scheme: str = "light", **options):
        """A fresh page in a fresh profile."""
        width, height = SIZES[size]
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        self._contexts.append(context)
        context.route("**/*", self._route)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        return page

    def forgive(self, *texts: str) -> None:
        """Takes back one wrong thing for each text: what a test brought about itself.

        Raises:
          AssertionError: where there was no such thing.
        """
        for text in texts:
            found = next((w for w in self.wrong if text in w), None)
            assert found is not None, f"nothing said {text!r}: {self.wrong}"
            self.wrong.remove(found)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _route(self, route) -> None:
        host = urlsplit(route.request.url).hostname
        if host in ("127.0.0.1", "localhost"):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def close(self) -> None:
        for context in self._contexts:
            context.close()
