"""Which variant ships, and what the others are told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.tflite_quantizer import picks, quality
from custom_components.tflite_quantizer.picks import Limits
from custom_components.tflite_quantizer.variant import Variant
from models.rows import Rows
from models.spec import CategoricalFeature, ModelSpec

LIMITS = Limits(max_drop=0.003, max_drop_slice=0.02)


def drop(point: float | None, half: float = 0.0005, rows: int = 2000) -> dict:
    known = point is not None
    low, high = (point - half, point + half) if known else (None, None)
    return {"metric": "auc", "rows": rows, "drop": point, "low": low, "high": high}


def variant(name: str, size: int, point: float | None, slices=(), p50: float = 30.0, **drops):
    return Variant(
        name,
        name,
        size,
        size,
        quality={
            "overall": drop(point, **drops),
            "slices": [{"feature": "city", "value": v, **drop(d)} for v, d in slices],
        },
        latency_us={"p50": p50},
    )


def decided(*variants: Variant, limits: Limits = LIMITS, pick: str = "balanced"):
    return {v.name: v for v in picks.decide(variants, limits, pick)}


FLOAT = variant("float32", 900, 0.0, half=0.0)
SKIPPED = Variant("none", "none", state="skipped", reason="crashed (SIGABRT)")


def test_the_smallest_within_the_bounds_ships_and_the_others_hear_why():
    found = decided(FLOAT, variant("small", 300, 0.05), variant("middle", 500, 0.001), SKIPPED)
    assert {name: v.state for name, v in found.items()} == {
        "float32": "eligible",
        "small": "rejected",
        "middle": "shipped",
        "none": "skipped",
    }
    assert "400 bytes larger than middle" in found["float32"].reason
    assert "loses nothing" in found["float32"].reason
    assert "0.003" in found["small"].reason and "loses 0.0500" in found["small"].reason
    assert found["none"].reason == "crashed (SIGABRT)" and found["none"].picks == ()


def test_what_may_lose_too_much_does_not_ship_although_it_probably_does_not():
    found = decided(FLOAT, variant("unsure", 300, 0.001, half=0.004, rows=90))
    assert found["unsure"].state == "rejected" and "on 90 rows" in found["unsure"].reason
    assert found["float32"].state == "shipped"


def test_a_slice_that_suffers_is_named():
    found = decided(FLOAT, variant("small", 300, 0.0, slices=[("Rome", 0.03), ("Oslo", 0.0)]))
    assert found["small"].state == "rejected"
    assert "`city` is Rome" in found["small"].reason and "0.02" in found["small"].reason


def test_three_picks_for_three_wishes():
    variants = (
        FLOAT,
        variant("unharmed", 700, 0.0001),
        variant("harmed", 400, 0.002),
        variant("tiny", 200, 0.006),
    )
    expected = {"quality": "unharmed", "balanced": "harmed", "compact": "tiny"}
    for pick, name in expected.items():
        found = decided(*variants, pick=pick)
        assert [v.name for v in found.values() if v.state == "shipped"] == [name]
        assert {p: n for n, v in found.items() for p in v.picks} == expected


def test_bytes_and_latency_have_bounds_of_their_own():
    limits = Limits(0.003, 0.02, max_bytes=600, max_latency_us=20.0)
    found = decided(
        FLOAT, variant("slow", 500, 0.0), variant("fast", 550, 0.0, p50=10.0), limits=limits
    )
    assert "900 bytes, and at most 600" in found["float32"].reason
    assert "30 µs a row, and at most 20" in found["slow"].reason
    assert found["fast"].state == "shipped"


def test_of_equal_size_the_one_that_loses_less_ships():
    found = decided(variant("a", 5, 0.001), variant("b", 5, -0.001))
    assert found["b"].state == "shipped" and "same size as b" in found["a"].reason


def test_nothing_ships_when_nothing_is_good_enough_or_known():
    found = decided(variant("bad", 5, 0.5), variant("unknown", 5, None))
    assert {v.state for v in found.values()} == {"rejected"}
    assert "cannot be computed" in found["unknown"].reason


made = st.builds(
    lambda size, point, half, part: variant("x", size, point, half=half, slices=[("a", part)]),
    st.integers(1, 1000),
    st.floats(-0.01, 0.02),
    st.floats(0, 0.01),
    st.floats(-0.01, 0.1),
)


@given(st.lists(made, min_size=1, max_size=6), st.sampled_from(picks.PICKS))
def test_what_ships_keeps_its_bounds_and_nothing_smaller_does(variants, pick):
    named = [Variant(**{**v.__dict__, "name": f"v{i}"}) for i, v in enumerate(variants)]
    found = picks.decide(named, LIMITS, pick)
    limits = LIMITS.times(picks.COMPACT_FACTOR if pick == "compact" else 1.0)
    shipped = [v for v in found if v.state == "shipped"]
    kept = [v for v in named if not picks.violations(v, limits)]
    assert len(shipped) == bool(kept)
    if kept:
        assert shipped[0].name in {v.name for v in kept}
    if kept and pick != "quality":
        assert shipped[0].bytes == min(v.bytes for v in kept)


class TestQuality:
    SPEC = ModelSpec(
        task="binary",
        label="y",
        classes=("no", "yes"),
        numeric=(),
        categorical=(
            CategoricalFeature("city", "string", ("Rome", "Oslo")),
            CategoricalFeature("floor", "integer", ("1", "2")),
        ),
    )

    def rows(self, n: int = 600):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, n).astype(np.float32)
        city = rng.choice(np.array([b"Rome", b"Oslo", b""], dtype=object), n, p=[0.5, 0.4, 0.1])
        floor = rng.choice(np.array([1.0, 2.0, np.nan], np.float32), n)
        inputs = {"city": city[:, None], "floor": floor[:, None]}
        answers = np.clip(labels * 0.4 + rng.random(n) * 0.6, 0, 1)[:, None]
        empty = np.zeros((n, 0), np.float32)
        return Rows(empty, np.zeros((n, 2), np.int32), labels, inputs), answers, city

    def test_slices_are_the_values_of_the_categories(self):
        rows, answers, _ = self.rows()
        every = quality.slices_of(self.SPEC, rows.inputs, 1)
        assert [(s.feature, s.value) for s in every] == [
            ("city", ""), ("city", "Oslo"), ("city", "Rome"),
            ("floor", ""), ("floor", "1"), ("floor", "2"),
        ]  # fmt: skip
        for name in ("city", "floor"):
            together = np.concatenate([s.rows for s in every if s.feature == name])
            assert sorted(together) == list(range(len(rows)))
        judged = quality.slices_of(self.SPEC, rows.inputs, 100)
        found = quality.compare(self.SPEC, rows, judged, answers, answers)
        assert {(s["feature"], s["value"]) for s in found["slices"]} == {
            ("city", "Rome"), ("city", "Oslo"), ("floor", "1"), ("floor", "2"), ("floor", ""),
        }  # fmt: skip
        assert found["overall"]["low"] == found["overall"]["high"] == 0.0

    def test_the_slice_that_was_spoilt_comes_first(self):
        rows, answers, city = self.rows()
        spoilt = answers.copy()
        rome = np.flatnonzero(city == b"Rome")
        spoilt[rome] = np.random.default_rng(1).permutation(spoilt[rome])
        judged = quality.slices_of(self.SPEC, rows.inputs, 100)
        found = quality.compare(self.SPEC, rows, judged, answers, spoilt)
        assert (found["slices"][0]["feature"], found["slices"][0]["value"]) == ("city", "Rome")
        assert found["slices"][0]["low"] > 0.1
        assert found["overall"]["differs"]


@pytest.mark.parametrize("pick", ["best", ""])
def test_unknown_picks_are_refused(pick):
    from custom_components.tflite_quantizer.options import QuantizerOptions

    with pytest.raises(ValueError, match="pick"):
        QuantizerOptions(pick=pick)
