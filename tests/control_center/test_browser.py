"""Pages in a real browser: nothing foreign, no error, accessible, in both themes and sizes."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.control_center import workspaces
from tests.control_center.browsing import SIZES
from tests.control_center.serving import Server
from tests.control_center.test_security import PAGES, run_pages
from tests.pipeline.report_files import hostile_names
from tests.pipeline.report_runs import RUN_ID


@pytest.fixture(scope="module")
def served(tmp_path_factory, browser):
    folder = tmp_path_factory.mktemp("served")
    workspaces.write_config(folder)
    workspaces.add_run(folder, champion=True, task="multiclass")
    server = Server(folder)
    yield server
    said = server.stop()
    assert "Traceback" not in said, said


ALL = (*PAGES, *run_pages(), f"/compare?run={RUN_ID}&run={RUN_ID}")


def test_every_page_is_accessible(watched, served):
    page = watched.window("wide", "light", bypass_csp=True)  # axe is put into the page
    for path in ALL:
        page.goto(served.url + path)
        assert serious(page) == [], path


def test_dark_pages_are_accessible(watched, served):
    page = watched.window("phone", "dark", bypass_csp=True)
    for path in ("/", "/run", f"/runs/{RUN_ID}", f"/runs/{RUN_ID}/variants", "/automation"):
        page.goto(served.url + path)
        assert serious(page) == [], path


def serious(page) -> list:
    """What axe finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [
        (v["id"], [n["html"][:200] for n in v["nodes"]][:3])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("size", SIZES)
def test_no_page_scrolls_sideways(watched, served, size):
    page = watched.window(size)
    wide = []
    for path in ALL:
        page.goto(served.url + path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > SIZES[size][0]:
            wide.append((path, width))
    assert wide == []


def test_the_policy_holds_and_scripts_run(watched, served):
    page = watched.window()
    for path in ALL:
        page.goto(served.url + path)
        assert page.locator("#theme").is_visible(), path


def test_keys_and_theme(watched, served):
    page = watched.window()
    page.goto(served.url)
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/models")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.locator("#keys").wait_for(state="hidden")
    body = page.locator("body")
    dark = re.compile(r"rgb\((\d|[1-5]\d), (\d|[1-5]\d), (\d|[1-5]\d)\)")
    expect(body).to_have_css("background-color", re.compile(r"rgb\(2\d\d, 2\d\d, 2\d\d\)"))
    page.keyboard.press("t")
    expect(body).to_have_css("background-color", dark, timeout=60_000)
    page.reload()
    expect(body).to_have_css("background-color", dark, timeout=60_000)  # it is remembered
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_the_config_is_checked_while_it_is_typed(watched, served):
    page = watched.window()
    page.goto(served.url + "/run")
    page.locator("#check .right").wait_for()
    assert page.locator("#start").is_enabled()
    assert page.locator("#forecast tr").count() == 11
    text = page.locator("#config-text")
    config = text.input_value()
    text.fill(config.replace("epochs: 8", "epochs: many"))
    page.locator("#check .problem").wait_for()
    assert "teacher.epochs" in page.locator("#check").inner_text()
    assert page.locator("#start").is_disabled()
    text.fill(config)
    page.locator("#check .right").wait_for()
    page.locator("#data-path").fill("other.csv")
    page.locator("#check .problem").wait_for()
    assert 'path: "other.csv"' in text.input_value()


def test_uploading_sets_the_data(watched, served, tmp_path):
    table = tmp_path / "more flowers.csv"
    workspaces.write_table(table, rows=300)
    page = watched.window()
    page.goto(served.url + "/run")
    page.locator("#check .right").wait_for()
    page.locator("#upload").set_input_files(table)
    page.locator("#notice.good").wait_for()
    assert page.locator("#data-path").input_value().endswith("more-flowers.csv")
    page.locator("#check .right").wait_for()


def test_hostile_names_do_nothing(watched, tmp_path):
    workspaces.write_config(tmp_path)
    made = workspaces.add_run(
        tmp_path, "not_blessed", hostile_names(), task="multiclass", champion=True
    )
    made.folder.log.write_text("</pre><script>window.pwned = 1</script>\n")
    server = Server(tmp_path)
    try:
        page = watched.window()
        for path in ("/", *run_pages(), f"/compare?run={RUN_ID}&run={RUN_ID}"):
            page.goto(server.url + path)
            assert page.evaluate("typeof window.pwned") == "undefined", path
            assert page.evaluate("document.images.length") == 0
    finally:
        server.stop()


def test_an_empty_folder_in_a_browser(watched, tmp_path):
    server = Server(tmp_path)
    try:
        page = watched.window()
        for path in PAGES:
            page.goto(server.url + path)
        page.goto(server.url)
        assert page.get_by_role("button", name="Run this demo").count() == 3
    finally:
        server.stop()
