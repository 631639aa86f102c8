"""Every k-th row of a table, where all of them would take too long."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow.parquet as pq

from custom_components.example_gen.files import find_files
from custom_components.example_gen.reader import read_table


def thinned(path: str, most: int, folder: pathlib.Path) -> str:
    """The path of a table with at most so many rows, evenly spaced.

    Args:
      path: As `data.path` takes it; images and tables that are small enough stay as they are.
      most: Rows.
      folder: For the file, where one is written.
    """
    if find_files(path)[0].format == "images":
        return path
    table = read_table(path)
    step = -(-table.num_rows // most)
    if step < 2:
        return path
    made = folder / "thinned.parquet"
    pq.write_table(table.take(np.arange(0, table.num_rows, step)), made)
    return str(made)
