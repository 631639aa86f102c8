"""The base of everything that is configured; by itself, for what must start at once."""

from __future__ import annotations

import pydantic


class Options(pydantic.BaseModel):
    """Base of all options: unknown keys are refused, values do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
