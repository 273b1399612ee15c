"""A row of stages, certified hop by hop: the first hop that breaks its rule is to blame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weigh.choice import UsageError
from weigh.parity.certificate import Certificate, Chain, Finding
from weigh.parity.certify import Asked, Reader, certified, of_file
from weigh.parity.hops import Hop, Kind, rule, tolerance
from weigh.parity.stage import Stage, layer_of


def certify_chain(
    paths: Sequence[Path | str],
    hops: Sequence[Hop] = (),
    asked: Asked | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Chain:
    """Certify every hop of a pipeline, the first stage being what was meant.

    Args:
        hops: one a hop; told from the formats when none is given.
        tell: called with what is being done.

    Raises:
        UsageError: fewer than two stages, another number of hops, or a first stage that cannot be opened.
    """
    start = time.perf_counter()
    if len(paths) < 2:
        raise UsageError("parity compares two models or more: type weigh parity BEFORE AFTER")
    if hops and len(hops) != len(paths) - 1:
        raise UsageError(f"{len(paths)} stages have {len(paths) - 1} hops between them, and {len(hops)} are named")
    asked = asked or Asked()
    hops = [one if one.tolerance is not None else one.model_copy(update={"tolerance": asked.tolerance}) for one in hops]
    reader, stages, certificates = Reader(asked), [Stage(paths[0], asked.architecture)], []
    known: dict[str, Any] = {}
    for at, path in enumerate(paths[1:]):
        tell(f"{stages[-1].name} -> {Path(path).name}")
        opened = _opened(path, asked.architecture)
        if isinstance(opened, str):
            certificates.append(_unreadable(stages[-1], path, hops[at] if hops else Hop(guessed=True), opened))
            break
        before = stages[-1]
        hop = hops[at] if hops else guessed(before, opened, asked.tolerance)
        known |= before.facts
        earlier = [(stage.name, stage) for stage in stages[:-1]]
        certificates.append(certified(before, opened, hop, reader, earlier, known))
        reader.forget(before)
        if asked.stop and not certificates[-1].ok:
            break
        stages.append(opened)
    blamed = next((at for at, one in enumerate(certificates, 1) if not one.ok), None)
    return Chain(
        stages=tuple(str(path) for path in paths),
        certificates=tuple(certificates),
        blamed=blamed,
        layer=certificates[blamed - 1].layer if blamed else None,
        seconds=time.perf_counter() - start,
    )


def _opened(path: Path | str, architecture: str) -> Stage | str:
    """The stage, or why it cannot be opened: of a later stage that is a finding."""
    if not Path(path).exists():
        raise UsageError(f"{path}: there is no such file or folder; you are in {Path.cwd()}")
    try:
        return Stage(path, architecture if Path(path).suffix == ".safetensors" else "")
    except UsageError as error:
        return str(error)


def _unreadable(before: Stage, path: Path | str, hop: Hop, why: str) -> Certificate:
    finding = Finding(topic="unreadable", what=why, layer=layer_of(why), do="make this stage again from the one before")
    return Certificate(
        before=str(before.path),
        after=str(path),
        hop=hop,
        rule=rule(hop),
        tolerance=tolerance(hop, "float32", 0),
        facts={},
        findings=(finding,),
        notes=("nothing else was compared, nor any later stage",),
    )


def guessed(before: Stage, after: Stage, limit: float | None = None) -> Hop:
    """A hop of the kind that what both stages are kept in tells."""
    return Hop(kind=_kind(before, after), tolerance=limit, guessed=True)


def _kind(before: Stage, after: Stage) -> Kind:
    if after.format == "gguf":
        return "gguf"
    if after.bits and not before.bits:
        return "quantize"
    if after.format != before.format:
        return "export"
    one, other = (_types(stage) for stage in (before, after))
    if one == other:
        return "copy"
    return "quantize" if before.bits != after.bits else "cast"


def _types(stage: Stage) -> set[tuple[str, int]]:
    tensors = of_file(stage)
    return set() if tensors is None else {tensors.kept(name) for name in tensors.names()}
