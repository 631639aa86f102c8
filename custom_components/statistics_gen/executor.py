"""What StatisticsGen does when it runs."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import tensorflow as tf
from tfx import types
from tfx.components.statistics_gen import executor as stock
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import stats_utils
from tfx_bsl.arrow import table_util
from tfx_bsl.coders import example_coder

from custom_components.statistics_gen import statistics
from custom_components.statistics_gen.options import StatisticsOptions
from models import decoded, progress

_LOG = logging.getLogger(__name__)

OPTIONS_KEY = "options"
EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
STATISTICS_KEY = standard_component_specs.STATISTICS_KEY

_COMPRESSION = {"tfrecords_gzip": "GZIP"}
_BATCH_ROWS = 1 << 13
#: Rows decoded by one call, which fit the processor's cache: a third less time than a whole batch.
_DECODE_ROWS = 512
#: Batches decoded at once; decoding is most of the work, and runs outside of Python's lock.
_DECODERS = 2


class Executor(stock.Executor):
    """TFDV's generators on batches read in this process; on request, or where needed, on Beam."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the statistics artifact.

        Args:
          input_dict: `examples`.
          output_dict: `statistics`.
          exec_properties: `options` (JSON of StatisticsOptions).
        """
        options = StatisticsOptions.model_validate_json(exec_properties[OPTIONS_KEY])
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        why = "it is configured" if options.engine == "beam" else _needs_beam(examples)
        if why:
            _LOG.info("statistics run on Beam: %s", why)
            progress.doing("computing statistics on Beam")
            stats_options = statistics.stats_options(options)
            super().Do(
                input_dict,
                output_dict,
                {standard_component_specs.STATS_OPTIONS_JSON_KEY: stats_options.to_json()},
            )
            return

        output = artifact_utils.get_single_instance(output_dict[STATISTICS_KEY])
        splits = artifact_utils.decode_split_names(examples.split_names)
        output.split_names = artifact_utils.encode_split_names(splits)
        output.span = examples.span
        # As the stock executor: empty outside of Google.
        link = stats_utils.generate_stats_dashboard_link(output)
        output.set_string_custom_property(stock.STATS_DASHBOARD_LINK, link)
        output.set_string_custom_property(
            stock.SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, json.dumps(dict.fromkeys(splits, 1.0))
        )
        for split in splits:
            progress.doing(f"computing statistics of {split}")
            result = statistics.compute(read_batches(examples, split), options)
            folder = artifact_utils.get_split_uri([output], split)
            fileio.makedirs(folder)
            path = os.path.join(folder, stock.DEFAULT_FILE_NAME)
            with fileio.open(path + ".unfinished", "wb") as stream:
                stream.write(result.SerializeToString())
            fileio.rename(path + ".unfinished", path, overwrite=True)


def read_batches(examples: types.Artifact, split: str) -> Iterator[pa.RecordBatch]:
    """The rows of a split in order, as list columns, some thousand at a time.

    Args:
      examples: An artifact of gzip TFRecords of tf.Example.
      split: Name.
    """
    uri = artifact_utils.get_split_uri([examples], split)
    ready = decoded.read(uri, _BATCH_ROWS)
    if ready is not None:
        yield from ready
        return
    files = sorted(fileio.glob(os.path.join(uri, "*")))
    packing = _COMPRESSION[examples_utils.get_file_format(examples)]
    records = tf.data.TFRecordDataset(files, compression_type=packing).batch(_BATCH_ROWS)
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(_DECODERS) as pool:
        for block in records.as_numpy_iterator():
            waiting.append(pool.submit(_decode, block.tolist()))
            if len(waiting) > _DECODERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(records: list[bytes]) -> pa.RecordBatch:
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    starts = range(0, len(records), _DECODE_ROWS)
    return table_util.MergeRecordBatches(
        [decoder.DecodeBatch(records[i : i + _DECODE_ROWS]) for i in starts]
    )


def _needs_beam(examples: types.Artifact) -> str:
    """Why the local engine cannot read an artifact, or ''."""
    if examples_utils.get_payload_format(examples) != example_gen_pb2.FORMAT_TF_EXAMPLE:
        return f"the examples are {examples_utils.get_payload_format_string(examples)}"
    if examples_utils.get_file_format(examples) not in _COMPRESSION:
        return f"the files are {examples_utils.get_file_format(examples)}"
    if examples.has_custom_property(examples_utils.CUSTOM_SPLIT_PATTERN_PROPERTY_NAME):
        return "the splits have patterns of their own"
    return ""
