"""The report's words and pictures, by properties rather than examples."""

from __future__ import annotations

import html.parser
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.report import charts, data, graph, labels, svg, words
from pipeline.runs import Run
from tests.conftest import ROOT
from tests.pipeline import report_dom
from tests.pipeline.report_statistics import add_numbers, add_values

ANY = st.one_of(
    st.none(), st.text(), st.booleans(), st.integers(), st.floats(), st.lists(st.integers())
)
#: Other work slows examples down; that is no failure.
FINITE = st.floats(-1e12, 1e12, allow_nan=False)

# Words


@given(ANY)
def test_no_value_stops_a_report(value):
    for filter_ in (
        words.count,
        words.number,
        words.metric,
        words.fixed,
        words.signed,
        words.percent,
        words.size,
        words.seconds,
        words.microseconds,
        words.cell,
    ):
        assert isinstance(filter_(value), str)
    assert "nan" not in words.metric(value) and "inf" not in words.metric(value)


@given(FINITE)
def test_numbers_read_back(value):
    text = words.number(value).replace(",", "").replace("\N{MINUS SIGN}", "-")
    assert float(text) == pytest.approx(value, rel=6e-3, abs=1e-300)


@given(st.floats(-9.9, 9.9))
def test_differences_carry_their_sign(value):
    text = words.signed(value)
    shown = float(text.replace("\N{MINUS SIGN}", "-"))
    assert shown == pytest.approx(value, abs=5.1e-5)
    assert text[0] in "+\N{MINUS SIGN}" if shown else text == "0.0000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.count(15002), "15,002"),
        (words.size(15200), "15,200\xa0B"),
        (words.percent(0.0004), "<\xa00.1\xa0%"),
        (words.percent(0.99999), ">\xa099.9\xa0%"),
        (words.percent(1), "100\xa0%"),
        (words.percent(0), "0\xa0%"),
        (words.seconds(12.34), "12.3\xa0s"),
        (words.seconds(125), "2\xa0min\xa05\xa0s"),
        (words.microseconds(38.6), "39\xa0µs"),
        (words.metric(0.93388), "0.9339"),
        (words.metric(53.4821), "53.48"),
        (words.metric(None), "–"),
        (words.metric(math.nan), "–"),
        (words.slice_name({"payment_type": "Cash", "hour": 3}), "payment_type = Cash, hour = 3"),
        (words.slice_name({}), "all rows"),
    ],
)
def test_units(text, expected):
    assert text == expected


@given(st.text())
def test_prose_keeps_the_text_and_escapes_it(text):
    node = report_dom.parse(f"<p>{words.prose(text)}</p>".replace("\r", "\n"))
    assert {n.tag for n in node} <= {"p", "code"}
    shown = "".join(_texts(node))
    plain = text.replace("\r", "\n")
    assert shown.replace("`", "") == plain.replace("`", "")


def test_backticks_become_code():
    assert str(words.prose("Set `a: <b>` here")) == "Set <code>a: &lt;b&gt;</code> here"
    assert str(words.prose("one ` alone")) == "one ` alone"


def _texts(node):
    for child in node.children:
        if isinstance(child, str):
            yield child
        else:
            yield from _texts(child)


# Elements and scales


class _First(html.parser.HTMLParser):
    """The first element's attributes and the text of its title."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.first: dict[str, str | None] | None = None
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if self.first is None:
            self.first = dict(attrs)

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.texts.append(data)


MARKUP = st.lists(st.sampled_from(["<b>", "</title>", "<!--", "&lt;", '"', "'", ">", "x", " "]))
CHARACTERS = st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\x00")


@given(st.one_of(st.text(CHARACTERS), MARKUP.map("".join)))
def test_any_text_stays_text_in_svg(text):
    mark = svg.mark("circle", 1.0, 2.0, 3.0, text, tip=text or "-")
    read = _First(f"<div>{svg.picture(10, 10, text, mark)}</div>".removeprefix("<div>"))
    assert read.tags == ["svg", "circle", "title"]
    assert read.first["aria-label"] == text
    assert "".join(read.texts).removesuffix("</div>") == (text or "-")


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_scales_hold_their_values_and_ticks_are_round(values):
    scale = svg.Scale.over(values, 50, 450)
    for value in values:
        assert 50 - 1e-6 <= scale(value) <= 450 + 1e-6
    ticks = scale.ticks()
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 8
    assert all(
        scale.low - 1e-9 <= t <= scale.high + 1e-9
        or math.isclose(t, scale.low)
        or math.isclose(t, scale.high)
        for t in ticks
    )


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=30))
def test_logarithmic_scales_do_too(values):
    scale = svg.Scale.over(values, 50, 450, log=True)
    for value in values:
        assert 50 - 1e-6 <= scale(value) <= 450 + 1e-6
    ticks = scale.ticks()
    assert ticks == sorted(ticks)
    names = (
        {
            svg.tick_name(
                t,
                t
                if ticks[-1] >= 10 * ticks[0]
                else min(b - a for a, b in zip(ticks, ticks[1:], strict=False)),
            )
            for t in ticks
        }
        if len(ticks) > 1
        else {""}
    )
    assert len(names) == max(len(ticks), 1), "two ticks have one name"


def test_names_do_not_cover_each_other_or_the_marks():
    points = [(100.0, 100.0), (104.0, 102.0), (112.0, 98.0), (300.0, 100.0)]
    names = ["int8_qat", "float32", "dynamic_range", "teacher float32"]
    places = labels.beside(points, names, (50, 30, 450, 250))
    boxes = [labels._box(p, svg.width_of(n)) for p, n in zip(places, names, strict=True)]
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
        for x, y in points:
            assert not (left < x < right and top < y < bottom)


def test_names_without_room_are_left_to_the_pointer():
    """Some thirty variants in one corner: what is written can be read."""
    names = ["shipped one", *(f"variant number {i}" for i in range(30))]
    points = [(100.0 + 3 * (i % 5), 100.0 + 2 * (i // 5)) for i in range(31)]
    places = labels.beside(points, names, (50, 30, 450, 250))
    assert places[0] is not None and None in places
    boxes = [
        labels._box(p, svg.width_of(n)) for p, n in zip(places, names, strict=True) if p is not None
    ]
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            across = min(right, other[2]) - max(left, other[0])
            up = min(bottom, other[3]) - max(top, other[1])
            assert min(across, up) <= 0 or across * up <= 12
    dots = [
        charts.Dot(x, 0.9 - y / 1e4, n, "shipped" if n == names[0] else "eligible", "circle", n)
        for (x, y), n in zip(points, names, strict=True)
    ]
    picture = report_dom.parse(charts.scatter(dots, "", "x", "y"))
    written = [t.text for t in picture.find_all("text") if t.text in names]
    assert names[0] in written and len(written) < 31
    assert {t.text for t in picture.find_all("title")} == set(names)  # the pointer has them all


def test_charts_of_nothing_are_nothing():
    nan = math.nan
    assert charts.line_chart([charts.Series("a", [(nan, 1.0)], "a")], "", "x", "y") == ""
    assert charts.scatter([charts.Dot(-1, 0.5, "a", "a", "circle", "")], "", "x", "y") == ""
    assert charts.columns([0.0, nan], [], "") == ""
    assert charts.overlay(["a"], [0.0], [0.0], "", sides=("a", "b")) == ""


def test_a_line_has_the_values_at_their_places():
    picture = report_dom.parse(
        charts.line_chart(
            [charts.Series("a", [(1.0, 0.0), (2.0, 1.0), (3.0, 0.5)], "a")], "", "x", "y"
        )
    )
    path = picture.find("path", class_="line a").attributes["d"]
    (x1, y1), (x2, y2), (x3, y3) = (
        tuple(map(float, p.split())) for p in path.removeprefix("M").split("L")
    )
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.02)
    assert y1 - y2 == pytest.approx(2 * (y3 - y2), abs=0.05)
    assert y2 < y3 < y1  # up is less in SVG


def test_pareto_front_is_what_no_other_beats():
    from pipeline.report.variants import _front

    assert _front([(3, 0.9), (1, 0.5), (2, 0.5), (4, 0.8), (3, 0.95)]) == [(1, 0.5), (3, 0.95)]


# Statistics as pictures


def _describe(add, *arguments, **options) -> data.Feature:
    dataset = statistics_pb2.DatasetFeatureStatistics()
    return data.describe(add(dataset, "x", *arguments, **options), "numeric", 1000)


def _bars(feature: data.Feature) -> list[float]:
    found = report_dom.parse(feature.picture).find_all("path")
    return [
        float(re.search(r"v([\d.]+)", n.attributes["d"])[1])
        for n in found
        if n.attributes["class"].startswith("bar")
    ]


def test_uniform_numbers_are_flat():
    bars = _bars(_describe(add_numbers, np.arange(10_000.0)))
    assert len(bars) == data.BINS
    assert min(bars) > 0.9 * max(bars)


def test_whole_numbers_have_a_column_each():
    rng = np.random.default_rng(0)
    feature = _describe(add_numbers, rng.integers(1, 8, 20_000).astype(float), whole=True)
    bars = _bars(feature)
    assert len(bars) == 7
    assert min(bars) > 0.85 * max(bars)


def test_a_constant_and_infinities_are_drawn_or_left_out():
    assert len(_bars(_describe(add_numbers, np.full(100, 7.0)))) == 1
    wild = np.concatenate([np.full(50, -np.inf), np.arange(900.0), np.full(50, np.inf)])
    feature = _describe(add_numbers, wild)
    assert len(_bars(feature)) == data.BINS
    assert "beyond" in report_dom.parse(feature.picture).find("svg").attributes["aria-label"]
    assert _describe(add_numbers, np.zeros(0), missing=10).picture == ""


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=200))
def test_no_numbers_stop_a_report(values):
    with np.errstate(all="ignore"):
        feature = _describe(add_numbers, np.array(values))
    assert feature.missing == 0


def test_categories_beyond_the_shown_are_one_faint_bar():
    feature = _describe(add_values, {f"v{i}": 100 - i for i in range(40)}, 60)
    bars = report_dom.parse(feature.picture).find_all("path", class_="bar faint")
    assert len(bars) == 1
    assert bars[0].text == f"26 other values: {words.percent(sum(range(61, 87)) / 3220)}"
    assert feature.distinct == 40 and feature.missing == 60
    assert [v for v, _ in feature.values] == ["v0", "v1", "v2"]


# The pipeline's picture


def test_an_empty_run_shows_every_component_as_not_reached():
    page = report_dom.parse(graph.picture(Run("x", 0.0, {})))
    assert len(page.find_all("svg")) == 2  # one layout for wide screens, one for phones
    assert len(page.find_all("g", class_="node absent")) == 2 * len(graph.NODES)


@pytest.mark.slow
def test_the_picture_is_the_pipeline(tmp_path):
    """Its nodes are the pipeline's, and every arrow is a dependency there."""
    from pipeline import config as config_module
    from pipeline.dag import create_pipeline

    (tmp_path / "x.csv").write_text("a,y\n1,0\n")
    config = config_module.parse(
        {
            "name": "x",
            "data": {"path": str(tmp_path / "x.csv")},
            "task": {"label": "y", "type": "binary"},
            "features": {"a": "numeric"},
        }
    )
    components = create_pipeline(config, root=str(tmp_path)).components
    assert {c.id for c in components} == set(graph.NODES)
    arrows = {(u.id, c.id) for c in components for u in c.upstream_nodes}
    assert set(graph.EDGES) <= arrows


# Colours

TEXTS = [
    ("ink", "card"),
    ("ink", "quiet"),
    ("ink", "page"),
    ("soft", "card"),
    ("soft", "quiet"),
    ("link", "card"),
    ("good", "card"),
    ("good", "good-back"),
    ("warn", "card"),
    ("warn", "warn-back"),
    ("bad", "card"),
    ("bad", "bad-back"),
    ("ink", "neutral-back"),
    ("ink", "bad-back"),
    ("warn", "bad-back"),
    ("soft", "good-back"),
    ("teacher", "card"),
    ("warn", "quiet"),
    ("good", "quiet"),
    ("bad", "quiet"),
]
SHAPES = [(name, "card") for name in ("shipped", "teacher", "champion", "control", "now", "bar")]


def _colours(theme: str) -> dict[str, tuple[float, ...]]:
    names = ("style.css",) if theme == "light" else ("style.css", "dark.css")
    found = {}
    for name in names:
        text = (ROOT / "pipeline/report" / name).read_text("utf-8")
        for key, value in re.findall(r"--([a-z-]+): #([0-9a-f]{6});", text):
            found[key] = tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return found


def _luminance(colour: tuple[float, ...]) -> float:
    """WCAG 2.1, relative luminance."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_is_sufficient(theme):
    """WCAG 2.1 AA: 4.5 for text, 3 for what is drawn."""
    colours = _colours(theme)

    def contrast(a: str, b: str) -> float:
        high, low = sorted((_luminance(colours[a]), _luminance(colours[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for pairs, least in ((TEXTS, 4.5), (SHAPES, 2.6)):
        poor = {f"{a} on {b}": round(contrast(a, b), 2) for a, b in pairs if contrast(a, b) < least}
        assert not poor
