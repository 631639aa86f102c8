"""Reads statistics and schemas, lets every check speak, and publishes the verdict."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact as tfx_artifact
from tfx.types import artifact_utils
from tfx.utils import io_utils

from custom_components.schema_validator import (
    baseline,
    data_checks,
    drift_checks,
    findings,
    schema_checks,
)
from custom_components.schema_validator.columns import SplitStatistics
from custom_components.schema_validator.options import ValidationOptions
from custom_components.schema_validator.verdict import VERDICT_FILE, Verdict, state_of
from models import progress
from models.errors import ConfigError
from models.options import TaskOptions

STATISTICS_FILE = "FeatureStats.pb"
SCHEMA_FILE = "schema.pbtxt"
ANOMALIES_FILE = "SchemaDiff.pb"
TRAIN = "train"

log = logging.getLogger(__name__)


class Executor(base_executor.BaseExecutor):
    """Judges the data; see component.py."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        options = ValidationOptions.model_validate_json(exec_properties["options"])
        task = TaskOptions.model_validate_json(exec_properties["task"])
        kinds = json.loads(exec_properties.get("kinds") or "{}")

        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        names = artifact_utils.decode_split_names(statistics.split_names)
        progress.doing(f"reading the statistics of {', '.join(names)}")
        splits = {name: _read_statistics(statistics, name) for name in names}
        schema = _read_schema(artifact_utils.get_single_instance(input_dict["schema"]))
        old_schema = _present(input_dict, "deployed_schema")
        old_statistics = _present(input_dict, "deployed_statistics")
        version = _version(old_statistics) or _version(old_schema)
        if exec_properties.get("curated"):
            source = baseline.Source("curated", schema)
        elif old_schema is not None:
            source = baseline.Source("deployed", _read_schema(old_schema), version)
        else:
            source = baseline.Source("inferred", schema)

        progress.doing(f"judging by {source.words}")
        deployed = _read_statistics(old_statistics, TRAIN) if old_statistics else None
        verdict, anomalies = judge(
            splits,
            source,
            deployed,
            version,
            _row_properties(input_dict, names),
            task,
            kinds,
            options,
        )

        output = artifact_utils.get_single_instance(output_dict["anomalies"])
        output.split_names = artifact_utils.encode_split_names(names)
        output.span = statistics.span
        for name, result in anomalies.items():
            folder = artifact_utils.get_split_uri([output], name)
            io_utils.write_bytes_file(
                os.path.join(folder, ANOMALIES_FILE), result.SerializeToString(deterministic=True)
            )
        io_utils.write_string_file(os.path.join(output.uri, VERDICT_FILE), verdict.to_json())
        output.set_int_custom_property("blocked", int(verdict.blocked))
        output.set_string_custom_property("state", verdict.state)
        for reason in verdict.reasons:
            log.info("%s %s: %s", reason.severity, reason.code, reason.message)


def judge(
    splits: Mapping[str, SplitStatistics],
    source: baseline.Source,
    deployed: SplitStatistics | None,
    version: str,
    properties: Mapping[str, int],
    task: TaskOptions,
    kinds: Mapping[str, str],
    options: ValidationOptions,
) -> tuple[Verdict, dict[str, anomalies_pb2.Anomalies]]:
    """All checks over all splits.

    Args:
      splits: Statistics by split.
      source: The schema that judges.
      deployed: Statistics of the deployed model's train split, if one is deployed.
      version: The deployed model's.
      properties: Row counts as ExampleGen left them; may be empty.
      task, kinds, options: As in component.py.

    Returns:
      The verdict, and TFDV's anomalies by split.
    """
    train = TRAIN if TRAIN in splits else next(iter(splits))
    judged = drift_checks.judged_columns(splits[train].columns, kinds, task.label)
    anomalies = _anomalies(splits, train, source, deployed, judged, options)
    found = [
        *data_checks.find_rows(splits, properties, options),
        *data_checks.find_label(splits, train, task, options),
        *schema_checks.find(source, anomalies, splits, deployed, kinds, task.label, options),
        *drift_checks.find_splits(splits, train, judged, task.label, options),
    ]
    compared = []
    if deployed is None:
        found.append(
            findings.Finding(
                "NO_BASELINE",
                "",
                "No model is deployed yet: there is nothing to measure drift against, so it was "
                "not judged.",
                "The first version that is pushed becomes the baseline of the next run.",
            )
        )
    else:
        drifted, compared = drift_checks.find_drift(
            deployed, splits[train], version, judged, options
        )
        found += drifted
    reasons = findings.reasons(found, options)
    verdict = Verdict(
        state=state_of(reasons),
        baseline=(version or "deployed") if deployed is not None else None,
        reasons=reasons,
        drift=tuple(drift.to_dict() for drift in compared),
        rows=data_checks.row_counts(splits, properties),
    )
    return verdict, anomalies


def _anomalies(
    splits: Mapping[str, SplitStatistics],
    train: str,
    source: baseline.Source,
    deployed: SplitStatistics | None,
    judged: list[str],
    options: ValidationOptions,
) -> dict[str, anomalies_pb2.Anomalies]:
    """TFDV's anomalies by split, the train split's with its drift values.

    TFDV's L-infinity is right for listed values; its Jensen-Shannon divergence of numbers is
    not where there are outliers, so no comparator is asked for it here.
    """
    schema = baseline.checkable(source.schema)
    comparing = schema_pb2.Schema()
    comparing.CopyFrom(schema)
    for feature in comparing.feature:
        if deployed is None or feature.name not in judged:
            continue
        before = deployed.columns.get(feature.name)
        now = splits[train].columns.get(feature.name)
        listed = all(
            side is not None and side.WhichOneof("stats") == "string_stats"
            for side in (before, now)
        )
        if listed and not feature.HasField("drift_comparator"):
            feature.drift_comparator.infinity_norm.threshold = options.linf_threshold
    return {
        name: tfdv.validate_statistics(
            split.proto,
            comparing if name == train else schema,
            previous_statistics=deployed.proto if deployed and name == train else None,
        )
        for name, split in splits.items()
    }


def _present(input_dict: Mapping[str, list[Any]], key: str) -> tfx_artifact.Artifact | None:
    """An optional input that is really there."""
    artifacts = input_dict.get(key) or []
    if not artifacts:
        return None
    artifact = artifacts[0]
    if _number(artifact, "present") == 0:
        return None
    return artifact if fileio.exists(artifact.uri) and fileio.listdir(artifact.uri) else None


def _version(artifact: tfx_artifact.Artifact | None) -> str:
    if artifact is None or not artifact.has_custom_property("version"):
        return ""
    return artifact.get_string_custom_property("version")


def _row_properties(input_dict: Mapping[str, list[Any]], splits: list[str]) -> dict[str, int]:
    counts = {}
    for artifact in input_dict.get("examples") or []:
        for key in ("rows_read", *(f"rows_{name}" for name in splits)):
            count = _number(artifact, key)
            if count is not None:
                counts[key] = counts.get(key, 0) + count
    return counts


def _number(artifact: tfx_artifact.Artifact, key: str) -> int | None:
    """A whole-number custom property; Kubeflow's metadata hands it back as a float."""
    value = artifact.get_custom_property(key)
    return None if value is None else int(value)


def _read_statistics(artifact: tfx_artifact.Artifact, split: str) -> SplitStatistics:
    path = os.path.join(artifact.uri, f"Split-{split}", STATISTICS_FILE)
    with fileio.open(path, "rb") as file:
        return SplitStatistics.parse(file.read())


def _read_schema(artifact: tfx_artifact.Artifact) -> schema_pb2.Schema:
    path = os.path.join(artifact.uri, SCHEMA_FILE)
    if not fileio.exists(path):
        path = io_utils.get_only_uri_in_dir(artifact.uri)
    try:
        return io_utils.SchemaReader().read(path)
    except text_format.ParseError as error:
        raise ConfigError(
            "UNREADABLE_SCHEMA",
            f"`{path}` is not a schema in protobuf's text format: {error}.",
            next="Correct `validation: {schema_path: ...}` in flywheel.yaml, or the file it names.",
        ) from None
