"""Kinds of hops: what each may change, and by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import Field

from weigh.choice import Frozen, UsageError, unknown

Kind: TypeAlias = Literal["copy", "cast", "merge", "prune", "quantize", "export", "runtime", "gguf"]
KINDS: tuple[str, ...] = get_args(Kind)

RULES: dict[str, str] = {
    "copy": "nothing may differ",
    "cast": "each weight may be rounded once, to the nearest number of the new type; nothing else may differ",
    "merge": "each weight must be base + scaled B A, worked out in float32; nothing else may differ",
    "prune": "a weight may become 0 or stay as it is; layers and sizes may shrink; nothing else may differ",
    "quantize": "matrices may be rounded as far as their bits say, and what stays a float rounded once to its type; "
    "nothing else may differ",
    "export": "the same numbers run by another program: outputs may differ by float32 rounding",
    "runtime": "the same numbers run by another program: outputs may differ by float32 rounding",
    "gguf": "matrices may be rounded as far as their GGUF type says; nothing else that GGUF can hold may differ",
}
EXACT = ("copy", "merge", "export", "runtime")
"""Hops after which greedy tokens must be the same."""


class Tolerance(Frozen):
    """How far outputs may lie apart."""

    gap: float | None = Field(description="greatest mean |difference in log-probability| a token, nats; None: any")
    layer: float | None = Field(description="greatest relative error of one layer's contribution; None: any")
    greedy: bool = Field(description="whether greedy tokens (labels of rows) must be the same, near ties apart")


class Hop(Frozen):
    """One step of a pipeline, as it was meant."""

    kind: Kind = Field("copy", description="what the step does, which says what it may change")
    dtype: Literal["", "float32", "float16", "bfloat16"] = Field(
        "", description="cast, merge: the type that weights are meant to have afterwards; as found when empty"
    )
    adapter: Path | None = Field(None, description="merge: the folder of the LoRA adapter that was merged (PEFT)")
    bits: int = Field(0, ge=0, le=16, description="quantize: bits a weight; read off the model when 0")
    tolerance: float | None = Field(
        None,
        ge=0,
        description="greatest mean |difference in log-probability| a token, nats; the kind's own if not given",
    )
    guessed: bool = Field(False, description="the kind was told from the formats and not declared")

    @property
    def text(self) -> str:
        """As one would type it."""
        given = {"dtype": self.dtype, "adapter": self.adapter, "bits": self.bits, "tolerance": self.tolerance}
        words = [f"{name}={value}" for name, value in given.items() if value not in ("", None, 0)]
        return f"{self.kind}:{','.join(words)}" if words else self.kind


def hop(text: str) -> Hop:
    """Read ``kind`` or ``kind:setting=value,setting=value``.

    Raises:
        UsageError: no such kind or setting, or a value that it cannot have.

    >>> hop("cast:dtype=bfloat16").dtype
    'bfloat16'
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise UsageError(unknown("kind of hop", kind, KINDS))
    pairs = [word.partition("=") for word in rest.split(",") if word]
    settings = [name for name in Hop.model_fields if name not in ("kind", "guessed")]
    for name, equals, value in pairs:
        if name not in settings:
            raise UsageError(unknown(f"setting of a {kind} hop", name, settings))
        if not equals or not value:
            raise UsageError(f"--hop {text}: {name} has no value; type {kind}:{name}=VALUE")
    return Hop.model_validate({"kind": kind, **{name: value for name, _, value in pairs}})


_ROUNDED = {"float16": (0.01, 0.01), "bfloat16": (0.05, 0.05)}
_BITS = ((8, (0.25, 0.25)), (5, (0.5, 0.5)), (0, (1.5, 1.0)))

_ACTIVATIONS = 1.5
"""Activations in 8 bits with one scale a tensor are as coarse as weights in 4: outliers leave the rest few steps."""


def rule(one: Hop, dtype: str = "float32", bits: int = 0) -> str:
    """What a hop may change, in words: its kind's rule, or that of another program that runs rounded numbers.

    Args:
        dtype, bits: as for `tolerance`.
    """
    if one.kind in ("export", "runtime") and 0 < bits < 16:
        return (
            f"another program, on numbers of {bits} bits: matrices may be rounded as far as these say, what stays a "
            "float once to its type, and outputs may differ as after a quantization"
        )
    if one.kind in ("export", "runtime") and dtype in _ROUNDED:
        return f"another program, on {dtype}: each weight may be rounded once, and outputs may differ as after a cast"
    return RULES[one.kind]


def tolerance(one: Hop, dtype: str, bits: int, activations: bool = False) -> Tolerance:
    """What a hop may change in outputs, by its kind and by what weights are kept in afterwards.

    Args:
        dtype: the narrowest float type among the weights afterwards.
        bits: the fewest bits a weight afterwards; 0 where none is quantized.
        activations: whether what flows between weights is rounded too.
    """
    gap: float | None
    layer: float | None
    bits = bits or (one.bits or 8 if one.kind == "quantize" else 0)
    if one.kind == "prune":
        gap, layer = None, None
    elif one.kind in ("quantize", "gguf", "export", "runtime") and 0 < bits < 16:
        gap, layer = next(limits for least, limits in _BITS if bits >= least)
        gap = max(gap, _ACTIVATIONS) if activations else gap
    elif dtype in _ROUNDED and one.kind not in ("copy",):
        gap, layer = _ROUNDED[dtype]
    else:
        gap, layer = (1e-4, 1e-3) if one.kind != "copy" else (1e-5, 1e-5)
    greedy = one.kind in EXACT and not (dtype in _ROUNDED and one.kind != "copy") and not 0 < bits < 16
    return Tolerance(gap=gap if one.tolerance is None else one.tolerance, layer=layer, greedy=greedy)
