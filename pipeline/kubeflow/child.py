"""Compiles in a process of its own, so that whoever asks imports no TFX."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import yaml

from models import child
from models.errors import ConfigError, FlywheelError
from models.stack import ENVIRONMENT
from pipeline.config import Config


def compile_in_child(config: Config, target: str, output: str | os.PathLike[str]) -> None:
    """Compiles a config to a file.

    Args:
      config: Checked, paths absolute.
      target: `kfp` or `vertex`.
      output: Is written in one step, or not at all.

    Raises:
      ConfigError: As `compile.compile_config`.
      FlywheelError: COMPILE_FAILED.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.kubeflow.compile", target, str(pathlib.Path(output))],
        # What was not set stays so: a component inherits that from `kubeflow.defaults`.
        # In its own order: that of the features is that of the model's inputs.
        input=yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True), sort_keys=False),
        env={**ENVIRONMENT, **child.environment()},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode == 0:
        return
    try:
        reason = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise FlywheelError(
            "COMPILE_FAILED",
            f"TFX could not compile the pipeline (exit code {done.returncode}): {last[:500]}",
            next="If the config is one that `flywheel run` accepts, please report it.",
        ) from None
    kind = ConfigError if done.returncode == ConfigError.exit_code else FlywheelError
    raise kind(reason["code"], reason["message"], next=reason["next"], cases=reason["cases"])
