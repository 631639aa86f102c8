"""What the data is judged by, and how that is said."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tensorflow_metadata.proto.v0 import schema_pb2

SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Source:
    """The schema that judges, and whose it is.

    Attributes:
      kind: `curated`: the user's own; `deployed`: of the deployed model; `inferred`: from
        this run's train split.
      schema: As it was given.
      version: Of the deployed model.
    """

    kind: Literal["curated", "deployed", "inferred"]
    schema: schema_pb2.Schema
    version: str = ""

    @property
    def features(self) -> dict[str, schema_pb2.Feature]:
        return {feature.name: feature for feature in self.schema.feature}

    @property
    def words(self) -> str:
        return {
            "curated": "the curated schema",
            "deployed": f"the schema of {version_words(self.version)}",
            "inferred": "the train split",
        }[self.kind]

    def differs(self, column: str, expected: str, found: str, splits: list[str]) -> str:
        """`fare` was a number when version 3f2a… was trained and is text now."""
        here = (
            " and ".join(splits) if len(splits) < 3 else f"{', '.join(splits[:-1])}, {splits[-1]}"
        )
        before, now = {
            "curated": (f"is {expected} in the curated schema", f"is {found} in the data"),
            "deployed": (
                f"was {expected} when {version_words(self.version)} was trained",
                f"is {found} now",
            ),
            "inferred": (f"is {expected} in the train split", f"is {found} in {here}"),
        }[self.kind]
        return f"`{column}` {before} and {now}"


def version_words(version: str) -> str:
    """`version 3f2a9c…`, short enough to read."""
    if not version:
        return "the deployed model"
    return "version " + (version if len(version) <= SHOWN else f"{version[:SHOWN]}…")


def checkable(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """A copy of the schema that TFDV can judge by.

    From statistics of integers that are categories, `tfdv.infer_schema` makes an
    integer feature with a domain of strings, which `tfdv.validate_statistics` then calls invalid
    whatever the data. Here such a feature is a categorical integer; its values are checked
    against the domain by `schema_checks`.
    """
    copy = schema_pb2.Schema()
    copy.CopyFrom(schema)
    for feature in copy.feature:
        if feature.type == schema_pb2.INT and feature.WhichOneof("domain_info") in (
            "domain",
            "string_domain",
        ):
            feature.int_domain.is_categorical = True
    return copy
