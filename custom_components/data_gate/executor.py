"""Stops a run whose data was blocked."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from custom_components.schema_validator.verdict import Verdict
from models.errors import DataError


class Executor(base_executor.BaseExecutor):
    """Raises what a blocking verdict stands for; see component.py."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        verdict = Verdict.load(artifact_utils.get_single_uri(input_dict["anomalies"]))
        if verdict.blocked:
            blocking = tuple(r for r in verdict.reasons if r.severity == "block")
            first = blocking[0]
            raise DataError(
                first.code, first.message, next=first.next, cases=first.cases, reasons=blocking
            )
