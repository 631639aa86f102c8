"""Quantizes one file with ai-edge-quantizer. Run by path in its environment (`edge.py`).

Reads a JSON object from stdin: `source` and `target`, paths of TFLite files, and `recipe`, as
ai-edge-quantizer reads it. Nothing of Flywheel's is imported: it is not installed there.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import pathlib
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    # Whoever asked may be killed at its time bound: then nobody waits for this.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    try:
        from ai_edge_quantizer import quantizer

        with contextlib.redirect_stdout(sys.stderr):
            made = quantizer.Quantizer(request["source"], request["recipe"]).quantize()
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:400]}", file=sys.stderr)
        sys.exit(1)
    pathlib.Path(request["target"]).write_bytes(bytes(made.quantized_model))


if __name__ == "__main__":
    main()
