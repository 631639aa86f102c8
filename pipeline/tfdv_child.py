"""The process that asks TensorFlow Data Validation, for `pipeline/tfdv_check.py`.

    python -m pipeline.tfdv_child VERSION_FOLDER LIMIT

Reads the path of a Parquet file per line and answers each with one line, a JSON list of anomalies.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from monitoring.reference import STATISTICS
from pipeline.tfdv_check import SCHEMA


def serve(folder: str, limit: float) -> None:
    """A line per window."""
    for line in sys.stdin:
        print(json.dumps(validate(line.strip(), folder, limit)), flush=True)


def validate(path: str, folder: str, limit: float) -> list[dict]:
    """Statistics of the window against the version's schema and training statistics."""
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl, stats_options
    from tensorflow_metadata.proto.v0 import anomalies_pb2

    before = tfdv.load_stats_binary(str(pathlib.Path(folder) / STATISTICS))
    schema = tfdv.load_schema_text(str(pathlib.Path(folder) / SCHEMA))
    table = pq.read_table(path)
    # The label and what the model does not read are not in the log.
    for feature in list(schema.feature):
        if feature.name not in table.column_names:
            schema.feature.remove(feature)
        elif feature.type == 1:  # BYTES
            feature.drift_comparator.infinity_norm.threshold = limit
    kinds = {feature.name: feature.type for feature in schema.feature}
    arrays = [_lists(table.column(n), kinds.get(n)) for n in table.column_names]
    batch = pa.RecordBatch.from_arrays(arrays, table.column_names)
    now = stats_impl.generate_statistics_in_memory(batch, stats_options.StatsOptions())
    result = tfdv.validate_statistics(now, schema, previous_statistics=before)
    found = []
    apart = {
        info.path.step[0]: measurement.value
        for info in result.drift_skew_info
        for measurement in info.drift_measurements
    }
    for name, info in sorted(result.anomaly_info.items()):
        for reason in info.reason:
            drift = "COMPARATOR" in anomalies_pb2.AnomalyInfo.Type.Name(reason.type)
            found.append(
                {
                    "feature": name,
                    "statistic": "tfdv_linf" if drift else "schema_anomalies",
                    "value": apart.get(name, 0.0) if drift else 1.0,
                    "words": (reason.description or reason.short_description).strip(" ."),
                }
            )
    return found


def _lists(column: pa.ChunkedArray, kind: int | None) -> pa.Array:
    """A value per list, null where missing; whole numbers as the schema has them."""
    flat = column.combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks)
    if kind == 2 and pa.types.is_floating(flat.type):  # INT
        present = flat.drop_null().to_numpy(zero_copy_only=False)
        if np.all(np.isfinite(present)) and np.all(present == np.floor(present)):
            flat = flat.cast(pa.int64())
    if kind == 3 and pa.types.is_floating(flat.type):  # FLOAT
        flat = flat.cast(pa.float32())
    valid = np.asarray(flat.is_valid())
    offsets = np.concatenate([[0], np.cumsum(valid)]).astype(np.int32)
    mask = np.concatenate([~valid, [False]])
    return pa.ListArray.from_arrays(pa.array(offsets, mask=mask), flat.drop_null())


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
