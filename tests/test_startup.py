"""The command line answers at once: nothing heavy is loaded before it is needed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

HEAVY = (
    "torch ray mlflow transformers scipy sklearn pandas polars onnx onnxruntime skl2onnx matplotlib statsmodels"
    " sqlalchemy jinja2 numpy"
).split()

HELP = """
import json, runpy, sys
sys.argv = ["weigh", "--help"]
code = None
try:
    runpy.run_module("weigh", run_name="__main__")
except SystemExit as stop:
    code = stop.code
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""
IMPORT = """
import json, sys
import weigh
print(json.dumps([0, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )


@pytest.mark.parametrize("program", [HELP, IMPORT], ids=["weigh --help", "import weigh"])
def test_nothing_heavy_is_loaded(program):
    done = python("-c", program)
    assert done.returncode == 0, done.stderr
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code in (0, None), done.stderr
    assert not set(HEAVY) & set(loaded)


def test_help_says_something():
    done = python("-m", "weigh", "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def cpu_seconds_of_help() -> float:
    """User and system seconds of `python -m weigh --help`: a clock on the wall would time the neighbours too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python("-m", "weigh", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.skipif(os.name != "posix", reason="getrusage of children is POSIX")
def test_help_takes_under_three_tenths_of_a_cpu_second():
    assert min(cpu_seconds_of_help() for _ in range(5)) < 0.3
