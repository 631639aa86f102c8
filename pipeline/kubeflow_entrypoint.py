"""What the container of every task runs.

    python -m pipeline.kubeflow_entrypoint --executor_class_path CLASS
        --json_serialized_invocation_args {{$}} --json_serialized_inputs_spec_args TYPES
        [--component NAME] [--lean] [arguments for Beam]

It takes the arguments that TFX's compiler writes for TFX's own entrypoint, which runs on Vertex
only, and makes up for what open-source Kubeflow Pipelines v2 does otherwise (docs/kubeflow.md).
Stock TFX components run as well as ours, on Vertex too.

A failure ends as one paragraph that names the component and the reason's code, on stderr and in
the pod's termination message, then as one line of JSON for programs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence

from models import stack
from models.errors import FlywheelError
from pipeline.kubeflow.failure import report


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one task.

    Returns:
      Exit code: 0, or the one of the error: 3 for data that was blocked, 2 for settings, else 1.
    """
    known, beam_arguments = _parser().parse_known_args(arguments)
    component = known.component or known.executor_class_path.split(".")[-3:][0]
    try:
        from pipeline.kubeflow import task

        task.run(
            known.executor_class_path,
            executor_input=json.loads(known.json_serialized_invocation_args),
            inputs_spec=json.loads(known.json_serialized_inputs_spec_args or "{}"),
            beam_arguments=beam_arguments,
            lean=known.lean,
        )
    except Exception as problem:
        if not isinstance(problem, FlywheelError):
            traceback.print_exc()
        return report(component, problem)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.kubeflow_entrypoint", allow_abbrev=False
    )
    parser.add_argument("--executor_class_path", required=True, help="The executor's class.")
    parser.add_argument(
        "--json_serialized_invocation_args", required=True, help="ExecutorInput as JSON."
    )
    parser.add_argument(
        "--json_serialized_inputs_spec_args", default="", help="ComponentInputsSpec as JSON."
    )
    parser.add_argument("--component", default="", help="The task's name, for messages.")
    parser.add_argument(
        "--lean", action="store_true", help="Leave out what only Beam needs of TFX's imports."
    )
    return parser


if __name__ == "__main__":
    stack.prepare_environment()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    command = sys.argv[1:]
    del sys.argv[1:]  # TFX hands them to Beam
    code = main(command)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # everything is written; taking TensorFlow down in order costs two seconds
