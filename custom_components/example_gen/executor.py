"""What ExampleGen does when it runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from custom_components.example_gen import split, write
from custom_components.example_gen.fingerprint import fingerprint as fingerprint_of
from custom_components.example_gen.options import DataOptions
from custom_components.example_gen.reader import Dataset, open_dataset
from models import decoded, progress
from models.errors import DataError

OPTIONS_KEY = "options"
FINGERPRINT_KEY = "fingerprint"
KINDS_KEY = "kinds"
PATH_KEY = "path"
ENGINE_KEY = "engine"
EXAMPLES_KEY = "examples"


class Executor(base_beam_executor.BaseBeamExecutor):
    """Reads a table once for its types, and once more to write its splits."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples artifact.

        Args:
          input_dict: Empty.
          output_dict: `examples`.
          exec_properties: `options` (JSON of DataOptions), `fingerprint` ('' for unknown), `kinds`
            (JSON object), `path` (instead of the one in the options; may be absent), `engine`
            (`local` or `beam`; may be absent).

        Raises:
          FlywheelError: ConfigError and DataError as `reader.open_dataset` and `split.plan`;
            DATA_CHANGED, ROWS_LOST, DISK_FULL.
        """
        options = DataOptions.model_validate_json(exec_properties[OPTIONS_KEY])
        if exec_properties.get(PATH_KEY):
            options = options.model_copy(update={"path": exec_properties[PATH_KEY]})
        kinds = json.loads(exec_properties.get(KINDS_KEY) or "{}")
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])

        progress.doing("fingerprinting the data")
        found = fingerprint_of(options.path)
        expected = exec_properties.get(FINGERPRINT_KEY) or found
        if found != expected:
            raise DataError(
                "DATA_CHANGED",
                f"The data in {options.path} changed after the run had started.",
                next="Run again when whatever writes it has finished.",
            )
        dataset = open_dataset(
            options.path, kinds=kinds, derived=options.derive, image=options.image
        )
        splitter = split.plan(dataset, options.split)

        examples.split_names = artifact_utils.encode_split_names(list(split.SPLITS))
        if exec_properties.get(ENGINE_KEY) == "beam":
            progress.doing(f"writing {dataset.rows:,} rows on Beam")
            rows = self._write_on_beam(dataset, splitter, examples)
        else:
            progress.doing(f"writing {dataset.rows:,} rows")
            with _staging(examples.uri) as folder:
                rows = write.write_splits(dataset, splitter, folder)
                _check_all_written(rows, dataset)
                _publish(folder, examples)

        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        examples.set_int_custom_property("rows_read", dataset.rows)
        for name, count in rows.items():
            examples.set_int_custom_property(f"rows_{name}", count)
        examples.set_string_custom_property("fingerprint", found)

    def _write_on_beam(
        self, dataset: Dataset, splitter: split.Splitter, examples: types.Artifact
    ) -> dict[str, int]:
        from custom_components.example_gen import beam_engine

        # The workers write there: it must be where they see it, and on the splits' file system.
        folder = os.path.join(examples.uri, ".unfinished")
        try:
            shards = beam_engine.write_shards(dataset, splitter, folder, self._make_beam_pipeline)
            rows = beam_engine.rows_of(shards)
            _check_all_written(rows, dataset)
            for name in split.SPLITS:
                target = artifact_utils.get_split_uri([examples], name)
                fileio.makedirs(target)
                for path, final in beam_engine.names_of(shards, name):
                    fileio.rename(path, os.path.join(target, final), overwrite=True)
        finally:
            if fileio.exists(folder):
                fileio.rmtree(folder)
        return rows


def _check_all_written(rows: dict[str, int], dataset: Dataset) -> None:
    if sum(rows.values()) != dataset.rows:
        raise DataError(
            "ROWS_LOST",
            f"{dataset.rows:,} rows were read but {sum(rows.values()):,} written.",
            next="Run again; if it happens again, please report it.",
        )


@contextlib.contextmanager
def _staging(uri: str) -> Iterator[str]:
    """A local folder for unfinished files: beside the splits where they can be moved from it."""
    if "://" in uri:
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    folder = os.path.join(uri, ".unfinished")
    os.makedirs(folder, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(folder: str, examples: types.Artifact) -> None:
    """Gives whole files their final names."""
    for name in split.SPLITS:
        target = artifact_utils.get_split_uri([examples], name)
        fileio.makedirs(target)
        path = os.path.join(target, write.FILE_NAME)
        if "://" in examples.uri:
            fileio.copy(write.staged(folder, name), path, overwrite=True)
        else:
            os.replace(write.staged(folder, name), path)
            if os.path.exists(table := write.staged_columns(folder, name)):
                decoded.publish(table, target)
