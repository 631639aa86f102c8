"""docs/monitoring.md: its example runs and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "monitoring.md").read_text("utf-8")


def test_the_worked_example_is_true() -> None:
    (program, shown), *_ = re.findall(r"```python\n(.*?)```\s+```text\n(.*?)```", PAGE, re.S)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == shown
