"""A fresh process that loads an artefact and answers once: how long that takes, and the memory that it needs."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit, content_digest
from weigh.data.cache import cache_folder, kept_json, replacing
from weigh.model.artefact import architecture_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weigh.model.artefact import Artefact
    from weigh.model.source import Source
    from weigh.serve.runtime import Runtime, Setting

INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


def started(
    option: Runtime, made: Artefact, source: Source, setting: Setting, feed: Mapping[str, NDArray[Any]], starts: int = 1
) -> tuple[float, float]:
    """Seconds from the start of a process to its first answer, and its peak memory in MB; measured, then kept.

    Args:
        starts: processes, one after another, of which the medians count.

    Raises:
        Unfit: the option refuses, in that process, to serve.
        RuntimeError: the process failed; the text is the last line that it wrote.
    """
    shapes = {name: [str(values.dtype), list(values.shape)] for name, values in feed.items()}
    more = [dataclasses.asdict(setting), shapes, architecture_code(source), starts]
    kept = cache_folder() / "started" / f"{_key(option, made, more)}.json"
    if found := kept_json(kept):
        return float(found["seconds"]), float(found["megabytes"])
    asked = {
        "option": described(option), "path": str(made.path.absolute()), "source": _plain(source),
        "setting": dataclasses.asdict(setting),
        "feed": {name: (str(values.dtype), values.tolist()) for name, values in feed.items()},
    }  # fmt: skip
    seconds, megabytes = (
        statistics.median(one) for one in zip(*(_cold(asked, _kernels_of(option, made)) for _ in range(starts)))
    )
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps({"seconds": seconds, "megabytes": megabytes}))
    return seconds, megabytes


def _cold(asked: dict[str, Any], place: Path) -> tuple[float, float]:
    """One start, with no kernels that were compiled before."""
    shutil.rmtree(place, ignore_errors=True)
    return _run(asked, {INDUCTOR: str(place)})


def _run(asked: dict[str, Any], environment: dict[str, str]) -> tuple[float, float]:
    """The clock runs until the line that says that the first answer is there."""
    roots = os.pathsep.join(entry for entry in sys.path if entry)
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "weigh.serve.runtime._child"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": roots, **environment},
    )  # fmt: skip
    assert child.stdin and child.stdout
    with child:
        try:
            child.stdin.write(json.dumps(asked) + "\n")
            child.stdin.flush()
            line = next((line for line in child.stdout if line.startswith("{")), "")
            seconds = time.perf_counter() - start
            _, errors = child.communicate()
        except BaseException:
            child.kill()
            raise
    said = json.loads(line or "{}")
    if "unfit" in said:
        raise Unfit(said["unfit"])
    if "megabytes" not in said:
        raise RuntimeError(f"a fresh process cannot answer: {(errors.strip().splitlines() or ['it ended'])[-1][:500]}")
    return seconds, float(said["megabytes"])


def _key(option: Runtime, made: Artefact, more: Any) -> str:
    return content_digest([type(option).__qualname__, option.spec, made.sha256, more])[7:39]


def _kernels_of(option: Runtime, made: Artefact) -> Path:
    return cache_folder() / "kernels" / _key(option, made, [])


@contextmanager
def kernels(option: Runtime, made: Artefact) -> Iterator[None]:
    """What torch compiles is looked for where the fresh process left it."""
    before = os.environ.get(INDUCTOR)
    os.environ[INDUCTOR] = str(_kernels_of(option, made))
    try:
        yield
    finally:
        if before is None:
            del os.environ[INDUCTOR]
        else:
            os.environ[INDUCTOR] = before


def _plain(source: Source) -> dict[str, Any]:
    return {**dataclasses.asdict(source), "path": str(source.path.absolute())}


def described(option: Runtime) -> dict[str, Any]:
    """An option in JSON, so that another process can make it again."""
    made = type(option)
    return {
        "module": made.__module__, "file": inspect.getfile(made), "class": made.__qualname__,
        "settings": option.model_dump(mode="json"),
    }  # fmt: skip


def remade(told: Mapping[str, Any]) -> Runtime:
    """The option that was described; its file is the one that the user named, or weigh's own."""
    try:
        module = importlib.import_module(told["module"])
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(told["module"], told["file"])
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[told["module"]] = module
        spec.loader.exec_module(module)
    found: Runtime = getattr(module, told["class"]).model_validate(told["settings"])
    return found
