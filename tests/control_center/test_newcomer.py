"""The newcomer's path: a page, one click, a report, a model that answers."""

from __future__ import annotations

import pytest

from tests.conftest import Flywheel
from tests.control_center import workspaces
from tests.control_center.serving import Server


def test_with_a_config_the_first_page_starts_the_run(watched, tmp_path):
    """As after `make ui`, which writes the demo's config: what Home says, and that it is a run."""
    workspaces.write_config(tmp_path)
    server = Server(tmp_path)
    try:
        page = watched.window()
        page.goto(server.url)
        hero = page.locator(".hero").inner_text()
        assert "predicts species" in hero and "3 features" in hero
        page.get_by_role("button", name="Run it").click()
        page.wait_for_url("**/runs/*", timeout=60_000)
        page.get_by_role("button", name="Cancel").click()
        page.locator("#confirm").get_by_role("button", name="Yes").click()
        page.locator(".verdict").wait_for(timeout=90_000)
        page.goto(server.url)
        assert page.locator(".hero").count() == 0, "only before the first run"
    finally:
        server.stop()


@pytest.mark.slow
def test_one_click_to_a_serving_model(watched, tmp_path):
    """From an empty folder: the demo's data, its report, and an answer of the deployed file."""
    server = Server(tmp_path)
    try:
        page = watched.window()
        page.goto(server.url)
        page.locator("[data-demo=chicago-taxi]").click()  # the one click
        page.wait_for_url("**/runs/*", timeout=120_000)
        page.locator(".node.running").first.wait_for(timeout=120_000)
        page.locator("#log", has_text="INFO").wait_for(timeout=120_000)
        page.locator(".verdict h2", has_text="Pushed").wait_for(timeout=400_000)
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Report").click()
        opened.value.get_by_role("heading", name="Variants").first.wait_for()
        page.get_by_role("link", name="ask it").click()
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("#answer meter").first.wait_for(timeout=60_000)
        assert page.locator("#answer strong").inner_text() in ("0", "1")
        assert "µs" in page.locator("#answer").inner_text()
        page.get_by_label("fare", exact=True).fill("much")
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("#answer .problem", has_text="`fare` is a number").wait_for(timeout=60_000)
        watched.forgive("422")
        said = page.locator(".badge.good").first.inner_text()
        assert "deployed" in said
    finally:
        server.stop()
    command = Flywheel(tmp_path)
    assert command.json("models", "verify")["requests"] > 0, "the terminal sees the same version"
