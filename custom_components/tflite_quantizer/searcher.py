"""The search as a run does it: on its rows, in its bounds, going on where one stopped before."""

from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from custom_components.tflite_quantizer import edge, needs, quality, trials
from custom_components.tflite_quantizer.maker import Maker
from custom_components.tflite_quantizer.options import QuantizerOptions
from custom_components.tflite_quantizer.search import Found, search
from custom_components.tflite_quantizer.search_space import Space
from models.options import NetworkOptions
from models.rows import Rows
from models.spec import ModelSpec

#: Beside the artifacts of the component, so that a new attempt finds it.
_JOURNALS = "search"


def find(
    options: QuantizerOptions,
    spec: ModelSpec,
    shape: NetworkOptions,
    bundle: str,
    rows: str,
    train: Rows,
    valid: Rows,
    reference: np.ndarray,
    output: str,
    seed: int,
    sensitive: Sequence[str] = (),
) -> Found:
    """Searches as `options.search` says.

    Args:
      options: Of the component.
      spec, shape: The model's contract and the network's shape.
      bundle: Folder of the float student.
      rows: `.npz` as conversions take it.
      train, valid: Rows of train and eval; eval with its inputs.
      reference: The float student's answers on eval, `[n, units]`.
      output: Folder of the `variants` artifact.
      seed: Of fine-tuning.
      sensitive: Layers that bear 8 bits badly, the worst first.
    """
    wanted, limits = options.search, options.limits()
    timed = wanted.objective == "latency" or limits.max_latency_us is not None
    known = trials.fingerprint(
        weights=pathlib.Path(bundle, "weights.npz"),
        rows=pathlib.Path(rows),
        eval=valid.inputs,
        options=[options.representative_rows, options.min_slice_rows],
        seed=seed,
    )
    folder = pathlib.Path(output).parent.parent / _JOURNALS
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as files:
        maker = Maker(
            spec,
            bundle,
            rows,
            files,
            valid,
            reference,
            quality.slices_of(spec, valid.inputs, options.min_slice_rows),
            seconds=options.timeout_seconds,
            memory_mb=options.memory_mb,
            seed=seed,
            timed=timed,
        )
        return search(
            Space.of(
                spec,
                shape,
                wanted.objective,
                train.ids,
                sensitive,
                edge=edge.version() is not None,
            ),
            maker,
            limits,
            wanted,
            epochs=options.qat_epochs,
            journal=trials.Journal(folder / f"{known}.jsonl", known),
            reason_to_skip=lambda recipe: needs.reason_to_skip(recipe, spec, shape, len(train)),
            workers=1 if timed else os.cpu_count() or 1,
        )
