"""What a linter says about a compiled pipeline."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or doubtful.

    Attributes:
      severity: `error`: a backend refuses the file, or the run cannot succeed. `warning`: it runs,
        and does not do what one would expect.
      code: Upper snake case, stable.
      where: Path in the file: `components.Trainer.executorLabel`.
      message: One sentence in plain words.
      next: What to do.
    """

    severity: Literal["error", "warning"]
    code: str
    where: str
    message: str
    next: str

    def to_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return dataclasses.asdict(self)
