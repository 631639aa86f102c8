"""What depends on the versions of the libraries underneath, and nothing else.

TF_USE_LEGACY_KERAS must be set before TensorFlow is imported anywhere: with
TensorFlow 2.16, three of four TFLite conversion routes of Keras 3 abort the
process, and TFMOT knows tf_keras only.
"""

from __future__ import annotations

import os

#: Quiet native libraries; their messages still reach the run's log file when asked for.
ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # results do not depend on the CPU's instruction set
    "PYTHONWARNINGS": "ignore",
}


def prepare_environment() -> None:
    """Sets what must be set before TensorFlow is imported; call it in every entry point."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
