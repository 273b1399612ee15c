"""How a benchmark tells what it found: a table, one JSON line, and a file under benchmarks/results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

from weigh.data.cache import replacing

RESULTS = Path(__file__).parent / "results"
_TOLD = (
    "weigh", "numpy", "scipy", "polars", "scikit-learn", "onnx", "onnxruntime", "torch", "transformers", "torchao",
    "bitsandbytes", "openvino", "xllamacpp",
)  # fmt: skip


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under columns."""
    from rich.console import Console
    from rich.table import Column, Table

    made = Table(*[Column(name, overflow="fold") for name in columns])
    for row in rows:
        made.add_row(*[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row])
    Console(width=140).print(made)


def report(name: str, figures: Mapping[str, object]) -> None:
    """Write ``results/NAME.json`` with commit, versions and machine; print the figures as the last line."""
    versions = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"] in _TOLD}
    body = {
        "figures": dict(figures),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": dict(sorted(versions.items())),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }
    with replacing(RESULTS / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(body, indent=1) + "\n")
    print(json.dumps(dict(figures)), flush=True)


def commit() -> str:
    """The commit that is checked out; "+changes" says that tracked files were changed since."""
    return _git("rev-parse", "HEAD") + ("+changes" if _git("status", "--porcelain", "-uno") else "")


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], capture_output=True, text=True, cwd=RESULTS.parent, check=False
    ).stdout.strip()
