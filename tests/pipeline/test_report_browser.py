"""The report in a real browser: no error, nothing fetched, nothing executed, both themes."""

from __future__ import annotations

import re

import pytest

from pipeline.report.page import write_report
from tests.pipeline.report_files import Names, hostile_names
from tests.pipeline.report_runs import RUN_ID, STATES, make_run

SIZES = {"wide": (1280, 900), "phone": (390, 844)}


@pytest.fixture
def opened(browser):
    """Opens a file in a fresh window; afterwards nothing may have gone wrong in it."""
    contexts, wrong, requests = [], [], []

    def route(request_route):
        requests.append(request_route.request.url)
        if request_route.request.url.startswith("file:"):
            request_route.continue_()
        else:
            request_route.abort()

    def open_file(path, scheme="light", size="wide"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        context.route("**/*", route)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert not wrong
    assert [url for url in requests if not url.startswith("file:")] == []
    assert len(requests) == len(contexts), "the page is the only file"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    made = make_run(tmp_path_factory.mktemp("report"), "pushed", champion=True, features=3)
    write_report(made.workspace, RUN_ID, made.folder.report)
    return made.folder.report


def brightness(page) -> float:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_and_fits(opened, report, scheme, size):
    page = opened(report, scheme, size)
    assert page.inner_text("h1") == "✓ Pushed"
    assert (brightness(page) > 200) == (scheme == "light")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size][0], "the page itself must not scroll sideways"
    shown = page.evaluate(
        "[...document.querySelectorAll('svg.graph')].map(e => getComputedStyle(e).display)"
    )
    assert shown == (["block", "none"] if size == "wide" else ["none", "block"])
    outside = page.evaluate(
        """() => [...document.querySelectorAll('svg.plot text, svg.graph text')].filter(t => {
            const box = t.getBoundingClientRect(), svg = t.ownerSVGElement.getBoundingClientRect();
            return box.width && (box.right > svg.right + 8 || box.left < svg.left - 4);
        }).map(t => t.textContent)"""
    )
    assert outside == [], "words are cut off at the edge of a picture"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_can_be_turned(opened, report, scheme):
    page = opened(report, scheme)
    before = brightness(page)
    button = page.get_by_role("button", name="Dark theme" if scheme == "light" else "Light theme")
    button.click()
    assert abs(brightness(page) - before) > 150
    page.get_by_role("button", name="Light theme" if scheme == "light" else "Dark theme").click()
    assert brightness(page) == before


def test_it_reads_without_script(browser, report):
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.inner_text("h1") == "✓ Pushed"
    assert not page.is_visible("#theme")
    context.close()


@pytest.mark.parametrize("state", STATES)
def test_hostile_names_do_nothing(opened, tmp_path, state):
    made = make_run(tmp_path, state, task="multiclass", champion=True, names=hostile_names())
    write_report(made.workspace, RUN_ID, made.folder.report)
    for scheme in ("light", "dark"):
        page = opened(made.folder.report, scheme)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.wait_for_timeout(50)
        assert page.evaluate("typeof window.pwned") == "undefined"
        assert page.evaluate("document.scripts.length") == 1
        assert page.evaluate("document.images.length") == 0
        shown = page.inner_text("#verdict")
        assert hostile_names().label in shown
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_policy_holds_even_if_escaping_failed(browser, report, tmp_path):
    """Markup that slipped through is refused by the browser."""
    slipped = (
        "<script>window.pwned = 1</script><img src='https://example.org/x.png' "
        "onerror='window.pwned = 1'>"
    )
    path = tmp_path / "slipped.html"
    path.write_text(report.read_text("utf-8").replace("<main>", f"<main>{slipped}"), "utf-8")
    context = browser.new_context()
    refusals, messages = [], []
    context.on("requestfailed", lambda request: refusals.append((request.url, request.failure)))
    page = context.new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.goto(path.as_uri())
    assert page.evaluate("document.images.length") == 1
    assert page.evaluate("typeof window.pwned") == "undefined"
    said = " ".join(messages)
    assert "script-src" in said and "img-src" in said
    assert refusals == [("https://example.org/x.png", "csp")]
    assert page.get_by_role("button", name="Dark theme").is_visible(), "our own script runs"
    context.close()


def test_long_names_and_wide_tables_stay_in_their_place(opened, tmp_path):
    names = Names(
        label="l" * 300,
        numeric="n" * 300,
        categorical="c" * 300,
        values=tuple(f"{'v' * 200}{i}" for i in range(5)),
        classes=tuple(f"{'k' * 120}{i}" for i in range(25)),
        data="/" + "d" * 400,
    )
    made = make_run(tmp_path, "pushed", task="multiclass", champion=True, names=names)
    write_report(made.workspace, RUN_ID, made.folder.report)
    for size, (width, _) in SIZES.items():
        page = opened(made.folder.report, size=size)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
