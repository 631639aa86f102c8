"""Compiles the golden files anew: `python -m tests.pipeline.kubeflow.refresh`. Look at the diff."""

from __future__ import annotations

from models import stack
from tests.pipeline.kubeflow.compiled import GOLDEN, HERE, compiled


def main() -> None:
    stack.prepare_environment()
    for name in GOLDEN:
        compiled(name).write(HERE / "golden" / name)
        print(f"tests/pipeline/kubeflow/golden/{name}")


if __name__ == "__main__":
    main()
