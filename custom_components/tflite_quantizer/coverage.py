"""Which train rows calibrate: chosen so that they show everything once, not by chance."""

from __future__ import annotations

import numpy as np

from models.rows import Rows


def representative(rows: Rows, least: int) -> np.ndarray:
    """Indices of rows that show every category and the extremes of every number and image.

    Evenly spaced rows fill up to `least`; more come back only when more are needed
    to see every category.

    Args:
      rows: Preprocessed rows of train.
      least: How many, as far as there are as many.

    Returns:
      Sorted distinct indices, int `[n]`.
    """
    if not len(rows):
        return np.zeros(0, int)
    chosen = [np.unique(column, return_index=True)[1] for column in rows.ids.T]
    for column in rows.numeric.T:
        chosen.append(np.array([np.argmin(column), np.argmax(column)]))
    if rows.image is not None:
        # The darkest and the brightest picture, and the flattest and the sharpest.
        flat = rows.image.reshape(len(rows), -1)
        for measure in (flat.mean(axis=1), flat.std(axis=1)):
            chosen.append(np.array([np.argmin(measure), np.argmax(measure)]))
    must = np.unique(np.concatenate([np.zeros(1, int), *chosen]))
    rest = np.setdiff1d(np.arange(len(rows)), must, assume_unique=True)
    missing = min(least - len(must), len(rest))
    if missing > 0:
        spread = rest[np.linspace(0, len(rest) - 1, missing).astype(int)]
        must = np.union1d(must, spread)
    return must
