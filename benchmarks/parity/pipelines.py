"""Pipelines that are right: kinds of rows of stages, with types, seeds and tools that vary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.parity import build
from weigh.parity import Hop, hop

SEED = 1000
ROPE = {"rope_type": "linear", "rope_theta": 100000.0, "factor": 2.0}


@dataclass(frozen=True)
class Pipeline:
    """Stages as files, and what each hop was meant to do; `broken` is the hop with the fault, from 1; 0: none."""

    stages: tuple[Path, ...]
    hops: tuple[Hop, ...]
    broken: int = 0


@dataclass(frozen=True)
class Work:
    """Where a pipeline is made of what, with which seed."""

    origin: Path
    folder: Path
    seed: int

    def base(self, rope: bool = False) -> Path:
        """The base, made once and used by every pipeline; nothing writes into it."""
        there = self.folder.parent / ("base-rope" if rope else "base")
        if not there.is_dir():
            build.base(self.origin, self.folder / "making", ROPE if rope else None).rename(there)
        return there

    def adapter(self, rank: int = 8) -> Path:
        return build.adapter(self.origin, self.folder / "adapter", self.seed, rank)

    def merged(self, base: Path, lora: Path) -> Path:
        return build.merge(base, self.folder / "merged", lora)

    def shared(self, rope: bool = False) -> tuple[Path, Path]:
        """Base and adapter of the pipelines with faults, made once; nothing writes into them."""
        there = self.folder.parent / "adapter"
        if not there.is_dir():
            build.adapter(self.origin, self.folder / "making", SEED).rename(there)
        return self.base(rope), there

    def right(self) -> tuple[Path, Path, Path, Path]:
        """Base, adapter, merged and bfloat16 of the pipelines whose fault comes later, made once."""
        (base, lora), merged, half = self.shared(), self.folder.parent / "merged", self.folder.parent / "half"
        if not half.is_dir():
            build.merge(base, self.folder / "making", lora).rename(merged)
            build.cast(merged, self.folder / "making", torch.bfloat16).rename(half)
        return base, lora, merged, half

    def at(self, name: str) -> Path:
        return self.folder / name


def merging(lora: Path) -> Hop:
    """The hop of a LoRA merge."""
    return hop(f"merge:adapter={lora}")


CAST, HALF = hop("cast:dtype=bfloat16"), hop("cast:dtype=float16")


def half_gguf(work: Work, kind: str, dtype: torch.dtype = torch.bfloat16, rope: bool = False) -> Pipeline:
    """base -> merged -> 16 bits -> GGUF."""
    base, lora = work.base(rope), work.adapter(4 + 4 * (work.seed % 3))
    merged = work.merged(base, lora)
    half = build.cast(merged, work.at("half"), dtype)
    last = build.gguf(half, work.at("gguf") / "model.gguf", kind, embedding="" if kind == "BF16" else "Q8_0")
    return Pipeline((base, merged, half, last), (merging(lora), CAST if dtype is torch.bfloat16 else HALF, hop("gguf")))


def half_nf4(work: Work) -> Pipeline:
    """base -> merged -> bfloat16 -> NF4."""
    base, lora = work.base(), work.adapter()
    merged = work.merged(base, lora)
    half = build.cast(merged, work.at("half"), torch.bfloat16)
    return Pipeline(
        (base, merged, half, build.nf4(half, work.at("nf4"))), (merging(lora), CAST, hop("quantize:bits=4"))
    )


def by_libraries(work: Work) -> Pipeline:
    """base -> merged by PEFT -> bfloat16 -> float32 again, each saved by transformers."""
    base, lora = work.base(), work.adapter(16)
    merged = build.peft_merge(base, work.at("merged"), lora)
    half = build.resaved(merged, work.at("half"), torch.bfloat16)
    whole = build.resaved(half, work.at("whole"), torch.float32)
    return Pipeline((base, merged, half, whole), (merging(lora), CAST, hop("cast:dtype=float32")))


def pruned(work: Work) -> Pipeline:
    """base -> merged -> pruned -> float16."""
    base, lora = work.base(), work.adapter()
    merged = work.merged(base, lora)
    sparse = build.prune(merged, work.at("pruned"), 0.1 + 0.1 * (work.seed % 3))
    half = build.cast(sparse, work.at("half"), torch.float16)
    return Pipeline((base, merged, sparse, half), (merging(lora), hop("prune"), HALF))


def exported(work: Work) -> Pipeline:
    """base -> merged -> ONNX -> int8 ONNX."""
    base, lora = work.base(), work.adapter()
    merged = work.merged(base, lora)
    graph = build.onnx(merged, work.at("onnx"))
    small = build.onnx_dynamic(graph, work.at("int8"))
    return Pipeline((base, merged, graph, small), (merging(lora), hop("export"), hop("quantize:bits=8")))


def halves(work: Work) -> Pipeline:
    """base -> merged -> copied -> float16 -> GGUF in float16."""
    base, lora = work.base(), work.adapter()
    merged = work.merged(base, lora)
    same = build.cast(merged, work.at("copy"), torch.float32)
    half = build.cast(same, work.at("half"), torch.float16)
    last = build.gguf(half, work.at("gguf") / "model.gguf", "F16")
    return Pipeline((base, merged, same, half, last), (merging(lora), hop("copy"), HALF, hop("gguf")))


def _gguf(kind: str, dtype: torch.dtype = torch.bfloat16, rope: bool = False) -> Callable[[Work], Pipeline]:
    return lambda work: half_gguf(work, kind, dtype, rope)


CLEAN: dict[str, Callable[[Work], Pipeline]] = {
    "gguf_q8": _gguf("Q8_0"),
    "gguf_q8_half": _gguf("Q8_0", torch.float16),
    "gguf_q4": _gguf("Q4_0"),
    "gguf_q5": _gguf("Q5_0"),
    "gguf_bf16": _gguf("BF16"),
    "gguf_q4_1": _gguf("Q4_1", torch.float16),
    "gguf_rope": _gguf("Q8_0", rope=True),
    "nf4": half_nf4,
    "nf4_again": half_nf4,
    "nf4_third": half_nf4,
    "libraries": by_libraries,
    "libraries_again": by_libraries,
    "libraries_third": by_libraries,
    "pruned": pruned,
    "pruned_again": pruned,
    "pruned_third": pruned,
    "onnx": exported,
    "onnx_again": exported,
    "halves": halves,
    "halves_again": halves,
}
