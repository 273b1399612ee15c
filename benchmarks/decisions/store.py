"""Families on disk: built once from their data and models, kept in the cache, never pickled."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import pkgutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.decisions import families, truth
from benchmarks.decisions.family import Family
from weigh.choice import UsageError, unknown
from weigh.data.cache import cache_folder, replacing
from weigh.scale.gauge import Gauge, Limit

Maker = Callable[[], Family]


def folder() -> Path:
    """Where families are kept."""
    return cache_folder() / "decisions"


def makers() -> dict[str, Maker]:
    """Every family by name; its module is in `benchmarks/decisions/families`, where the folder is the registry."""
    found: dict[str, Maker] = {}
    for info in pkgutil.iter_modules(families.__path__):
        if not info.name.startswith("_"):
            found |= importlib.import_module(f"{families.__name__}.{info.name}").FAMILIES
    return dict(sorted(found.items()))


def load(name: str, again: bool = False) -> Family:
    """A family from the cache; built, which takes a while, where it is not there.

    Raises:
        UsageError: there is no such family, or its file is damaged.
    """
    known = makers()
    if name not in known:
        raise UsageError(unknown("family", name, list(known)))
    path = folder() / f"{name}.npz"
    if again or not path.exists():
        start = time.monotonic()
        print(f"building {name} ...", end=" ", flush=True)
        made = known[name]()
        for limits in made.settings:
            truth.oracle(made, limits)  # which says so where no option meets them
        save(made, path)
        shape = f"{made.units:,} units x {len(made.options)} options"
        print(f"{shape}, {path.stat().st_size / 2**20:.1f} MB, {time.monotonic() - start:.0f} s", flush=True)
    return read(path)


def load_all(again: bool = False) -> Iterator[Family]:
    """Every family, in the order of their names."""
    return (load(name, again) for name in makers())


def save(family: Family, path: Path) -> None:
    """Write a family whole or not at all, with the digest of what is written."""
    arrays = {f"values/{name}": _narrow(of) for name, of in family.values.items()}
    arrays |= {f"exact/{name}": np.asarray(of, dtype=np.float64) for name, of in family.exact.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    body = buffer.getvalue()
    about = {
        "name": family.name, "kind": family.kind, "source": family.source, "options": family.options,
        "baseline": family.baseline, "gauges": [asdict(gauge) for gauge in family.gauges],
        "objective": family.objective, "serial": family.serial, "block": family.block,
        "settings": [[asdict(limit) for limit in limits] for limits in family.settings],
        "sha256": hashlib.sha256(body).hexdigest(),
    }  # fmt: skip
    for target, content in ((path, body), (path.with_suffix(".json"), json.dumps(about, indent=1).encode())):
        with replacing(target) as temporary:
            temporary.write_bytes(content)


def read(path: Path) -> Family:
    """A family as it was saved.

    Raises:
        UsageError: the file is damaged.
    """
    body = path.read_bytes()
    try:
        about: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        if hashlib.sha256(body).hexdigest() != about["sha256"]:
            raise ValueError("its digest is another")
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            parts = {name: arrays[name] for name in arrays.files}
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"{path} is damaged ({error}); type `python -m benchmarks.decisions.build --again --only {path.stem}`"
        ) from None
    return Family(
        name=about["name"], kind=about["kind"], source=about["source"], options=tuple(about["options"]),
        baseline=about["baseline"], gauges=tuple(Gauge(**gauge) for gauge in about["gauges"]),
        exact=_named(parts, "exact/"), values=_named(parts, "values/"), objective=about["objective"],
        settings=tuple(tuple(Limit(**limit) for limit in limits) for limits in about["settings"]),
        serial=about["serial"], block=about["block"],
    )  # fmt: skip


def _named(parts: Mapping[str, np.ndarray[Any, Any]], start: str) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    return {name[len(start) :]: of.astype(np.float64) for name, of in parts.items() if name.startswith(start)}


def _narrow(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The smallest type that keeps every value as it is."""
    for kind in (np.uint8, np.float16, np.float32):
        with np.errstate(all="ignore"):
            small = values.astype(kind)
        if np.array_equal(small.astype(np.float64), values):
            return small
    return values
