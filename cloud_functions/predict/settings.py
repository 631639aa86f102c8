"""What predict needs of the settings, read without pydantic: to know no more is to start sooner.

The values were checked when the file was written. Here only what a hand may have broken since is
looked for: keys that are gone, other types, numbers that are not positive.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from cloud_functions import settings_file


@dataclasses.dataclass(frozen=True)
class Serving:
    """How it serves: fields of `cloud_functions.options.ServingOptions`, which describes them."""

    interpreters: int
    max_rows: int
    max_bytes: int
    max_pixels: int
    unknown_features: str
    reload_seconds: float
    log_rows: int
    log_seconds: float
    log_bytes: int


@dataclasses.dataclass(frozen=True)
class PredictSettings:
    """`cloud_functions.settings.Settings` without what other functions do.

    Attributes:
      name: Of the model.
      deployed: Folder of deployed versions.
      log: Folder of the prediction log.
      serving: How it serves.
    """

    name: str
    deployed: str
    log: str
    serving: Serving


def load() -> PredictSettings:
    """The settings of this process, places of the environment included.

    Raises:
      ConfigError: NO_SETTINGS, WRONG_VALUE.
    """
    found = settings_file.places()
    moved = {key: found[key] for key in ("deployed", "log") if key in found}
    return dataclasses.replace(settings_file.load(parse), **moved)


def parse(content: bytes) -> PredictSettings:
    """Settings from the file's content; keys of other functions are passed over.

    Raises:
      ValueError: names what is wrong.
    """
    given = json.loads(content)
    values = _values(PredictSettings, given, "")
    return PredictSettings(
        **{**values, "serving": Serving(**_values(Serving, values["serving"], "serving."))}
    )


#: A field's annotation to the types that JSON may give it, and what they are called.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "int": ((int,), "a whole number above 0"),
    "float": ((int, float), "a number above 0"),
    "Serving": ((dict,), "an object"),
}


def _values(kind: type, given: Any, where: str) -> dict[str, Any]:
    if type(given) is not dict:
        raise ValueError("it is no JSON object")
    problems, values = [], {}
    for field in dataclasses.fields(kind):
        types, called = _KINDS[field.type]
        value = values[field.name] = given.get(field.name)
        if type(value) not in types or (type(value) in (int, float) and not 0 < value < math.inf):
            problems.append(f"`{where}{field.name}` must be {called}, not {value!r}")
    if problems:
        raise ValueError("; ".join(problems))
    return values
