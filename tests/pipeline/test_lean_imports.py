from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT

SCRIPT = """
from pipeline import lean_imports
lean_imports.install()
import sys
import pipeline.dag, pipeline.local_runner
import tensorflow_data_validation, tensorflow_model_analysis
for name in lean_imports.ABSENT:
    assert name not in sys.modules, name
import nltk
assert type(nltk).__module__ == "pipeline.lean_imports"
class Derived(nltk.stem.Porter):
    pass
try:
    nltk.word_tokenize("a b")
except ImportError as error:
    print(error)
"""


def test_the_pipeline_imports_without_them_and_using_one_says_why():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "`engine: beam`" in done.stdout
