"""Peak memory of a fresh process that loads an artefact and serves one request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import content_digest
from weigh.data.cache import cache_folder, kept_json, replacing
from weigh.model.source import embeds, format_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.artefact import Artefact
    from weigh.model.source import Source
    from weigh.model.task import ModelTask


def peak_mb(made: Artefact, source: Source, task: ModelTask, feed: Mapping[str, NDArray[Any]] | None = None) -> float:
    """Megabytes (of 1,000,000 bytes); measured once for an artefact and a form of request.

    Args:
        feed: the rows of one request; a language model writes instead.

    Raises:
        RuntimeError: the process failed; the text is the last line that it wrote.
    """
    asked = {
        "model": str(made.path.absolute()), "architecture": source.architecture, "threads": task.threads,
        "tokens": task.prompt_tokens, "new_tokens": task.new_tokens, "pooled": embeds(source),
        "feed": {name: (str(values.dtype), values.tolist()) for name, values in (feed or {}).items()},
    }  # fmt: skip
    kept = (
        cache_folder()
        / "memory"
        / f"{content_digest([made.sha256, {**asked, 'model': '', 'feed': _form(feed)}])[7:39]}.json"
    )
    if known := kept_json(kept):
        return float(known["megabytes"])
    run = subprocess.run(
        [sys.executable, "-m", "weigh.model.memory"], input=json.dumps(asked), capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}, check=False,
    )  # fmt: skip
    if run.returncode:
        raise RuntimeError(f"a fresh process cannot serve it: {(run.stderr.strip().splitlines() or ['?'])[-1]}")
    found = float(run.stdout.strip().splitlines()[-1])
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps({"megabytes": found}))
    return found


def _form(feed: Mapping[str, NDArray[Any]] | None) -> list[Any]:
    """What a feed is like, its values left out."""
    return [(name, str(values.dtype), values.shape) for name, values in sorted((feed or {}).items())]


def _serve(asked: dict[str, Any]) -> None:
    """Load the model and serve one request of the asked form."""
    import numpy as np

    path = Path(asked["model"])
    feed = {name: np.array(values, dtype) for name, (dtype, values) in asked["feed"].items()}
    if format_of(path) == "onnx":
        from weigh.model.session import load_session

        load_session(path, asked["threads"]).run(None, feed)
        return
    import torch

    from weigh.model.module import load_module
    from weigh.model.runner import ModuleRunner
    from weigh.model.source import open_source

    torch.set_num_threads(asked["threads"])
    module = load_module(open_source(path, asked["architecture"] if path.suffix == ".safetensors" else ""))
    if feed:
        ModuleRunner(module, asked["pooled"], asked["threads"], len(next(iter(feed.values())))).answer(feed)
        return
    from weigh.model import language

    language.write(module, np.zeros(asked["tokens"], np.int64), asked["new_tokens"])


def peak() -> float:
    """The greatest resident memory of this program so far, in megabytes.

    `getrusage` would count the process that started this one, whose memory it shared until it began.
    """
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    _serve(json.load(sys.stdin))
    print(peak())
