"""Which pictures the report shows: a few of every class, the surest mistakes first."""

from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa

from custom_components.evaluator import pictures
from models import images
from models.predictor import Predictor
from models.spec import ImageFeature, ModelSpec

SPEC = ModelSpec(
    "binary", "light", ("dark", "bright"), (), (), image=ImageFeature("image", 4, 4, 1)
)


def by_brightness(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """A model: the mean of the pixels is the probability of the second class."""
    return inputs["image"].mean(axis=(1, 2, 3), dtype=np.float32)[:, np.newaxis] / 255


def batch(*rows: tuple[int, str | None]) -> pa.RecordBatch:
    files = [images.encode(np.full((4, 4, 1), grey, np.uint8)) for grey, _ in rows]
    return pa.RecordBatch.from_pydict(
        {"image": pa.array(files, pa.binary()), "light": pa.array([label for _, label in rows])}
    )


def grey(png: str) -> int:
    return int(images.decode(base64.b64decode(png), 4, 4, 1)[0, 0, 0])


def test_the_surest_mistakes_come_first():
    found = pictures.collect(
        Predictor(SPEC, by_brightness),
        [
            batch((10, "dark"), (200, "dark"), (250, "bright"), (240, None)),
            batch((255, "dark"), (5, "bright"), (20, "dark")),
        ],
    )
    assert found["wrong"] == 3
    assert [(grey(m["png"]), m["label"], m["prediction"]) for m in found["mistakes"]] == [
        (255, "dark", "bright"),
        (5, "bright", "dark"),
        (200, "dark", "bright"),
    ]
    assert [round(m["probability"], 3) for m in found["mistakes"]] == [1.0, 0.98, 0.784]
    shown = {name: [grey(png) for png in pngs] for name, pngs in found["examples"].items()}
    assert shown == {"dark": [10, 200, 255, 20], "bright": [250, 5]}


def test_no_more_than_a_page_bears():
    rows = [(g % 100, "bright") for g in range(300)]
    found = pictures.collect(Predictor(SPEC, by_brightness), [batch(*rows)])
    assert found["wrong"] == 300
    assert len(found["mistakes"]) == pictures.MOST_MISTAKES
    assert grey(found["mistakes"][0]["png"]) == 0, "the darkest are the surest mistakes"
    assert len(found["examples"]["bright"]) == pictures.OF_EACH
    large = np.zeros((300, 200, 3), np.uint8)
    assert max(images.shape(base64.b64decode(pictures._png(large)))[:2]) <= 96
