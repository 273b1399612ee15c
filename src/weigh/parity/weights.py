"""Weights of two stages, tensor by tensor, against what the hop may do to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weigh.parity.adapter import Update
from weigh.parity.certificate import Finding, Weights
from weigh.parity.hops import Hop
from weigh.parity.suspects import suspect
from weigh.parity.tensors import HEAD, Tensors

if TYPE_CHECKING:
    from torch import Tensor

_MANTISSA = {"bfloat16": (9, 0.0), "float16": (12, 2.0**-25)}
_TOLD = 4
_BLOCK = 64
"""Weights that share a scale in NF4, across rows if these are shorter."""
SLACK = 1.5
"""How much worse than rounding to the nearest of even steps a quantizer may be: NF4's steps are uneven."""


@dataclass
class Comparison:
    """The tensors of a hop, as they are gone through."""

    before: Tensors
    after: Tensors
    hop: Hop
    updates: Mapping[str, Update] = field(default_factory=dict)
    earlier: Sequence[tuple[str, Tensors]] = ()
    identical: int = 0
    within: int = 0
    outside: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    worst: tuple[float, str] = (0.0, "")

    def run(self) -> Weights:
        """Compare every tensor that both stages have."""
        there = set(self.after.names())
        shared = [name for name in self.before.names() if name in there]
        if self.before.shared and self.after.shared:
            shared.remove(HEAD)
        for name in shared:
            self._tensor(name)
        unseen = [name for name in self.before.names() if name not in there]
        if self.after.complete and self.hop.kind != "prune":
            self._missing(unseen)
        return Weights(
            tensors=len(shared),
            identical=self.identical,
            within=self.within,
            outside=len(self.outside),
            worst=min(self.worst[0], 1e30),
            worst_tensor=self.worst[1],
            unseen=len(unseen),
        )

    def _missing(self, unseen: Sequence[str]) -> None:
        gained = [name for name in self.after.names() if name not in set(self.before.names())]
        for verb, names in (("is gone", unseen), ("is new", gained)):
            for name in names[:_TOLD]:
                self._find(name, f"{name} {verb}", "save every tensor of the stage before, and no others")

    def _find(self, name: str, what: str, do: str) -> None:
        from weigh.parity.stage import layer_of

        self.findings.append(Finding(topic="weights", where=name, layer=layer_of(name), what=what, do=do))

    def intent(self, name: str) -> tuple[Tensor, Tensor | None]:
        """What the tensor should be before it is rounded, and how far float32 may have missed it."""
        value = self.before.get(name)
        update = self.updates.get(name)
        if update is None:
            return value, None
        return value + update.delta(), update.noise() + 2.0**-23 * value.abs()

    def _tensor(self, name: str) -> None:
        import torch

        found, (meant, noise) = self.after.get(name), self.intent(name)
        if found.shape != meant.shape:
            if self.hop.kind != "prune":
                self.outside.append(name)
                was, now = tuple(meant.shape), tuple(found.shape)
                self._find(name, f"{name} had the shape {was}, has {now}", "write the tensor as it was")
            return
        if 0 < self.after.kept(name)[1] < self.hop.bits:
            self.outside.append(name)
            what = f"{name} is kept in {self.after.kept(name)[1]} bits, and the hop was meant to keep {self.hop.bits}"
            return self._find(name, what, "leave it out of the quantization, or say bits=N as it is meant")
        if torch.equal(found, meant):
            self.identical += 1
            return
        bad = int((~torch.isfinite(found)).sum())
        error = float((found - meant).norm() / meant.norm().clamp(min=1e-30)) if not bad else 1e30
        self.worst = max(self.worst, (error, name))
        if not bad and self._allowed(name, found, meant, noise, error):
            self.within += 1
            return
        self.outside.append(name)
        if len(self.outside) <= _TOLD:
            why = f"{bad} values are NaN or infinite" if bad else self._why(name, found, meant, error)
            self._find(name, f"{name}: {why}", self._do())

    def _why(self, name: str, found: Tensor, meant: Tensor, error: float) -> str:
        share = float((found != meant).float().mean())
        text = f"{share:.1%} of its weights are not what a {self.hop.kind} gives, relative error {error:.2g}"
        what = suspect(name, found, meant, self)
        return f"{text}; {what}" if what else text

    def _do(self) -> str:
        return {
            "merge": "merge in float32 into the float32 base, then cast once",
            "copy": "copy the file again",
        }.get(self.hop.kind, f"make this stage again from the stage before; a {self.hop.kind} must keep to its rule")

    def _allowed(self, name: str, found: Tensor, meant: Tensor, noise: Tensor | None, error: float) -> bool:
        kind, (dtype, bits) = self.hop.kind, self.after.kept(name)
        if kind == "copy":
            return False
        if bits:
            return kind in ("quantize", "gguf", "export", "runtime") and error <= rounding_bound(
                meant, self.after.used(name)
            )
        if kind == "merge":
            return self._merged(name, dtype, found, meant, noise)
        rounded = meant.to(_type(dtype)).float()
        if kind == "prune":
            return bool(((found == 0) | (found == rounded)).all())
        return bool((found == rounded).all())

    def _merged(self, name: str, dtype: str, found: Tensor, meant: Tensor, noise: Tensor | None) -> bool:
        allowed = noise if noise is not None else 0.0 * meant
        narrow = dtype in _MANTISSA and dtype in (self.hop.dtype, self.before.kept(name)[0])
        if narrow:
            allowed = allowed + half_step(meant, dtype)
        return bool(((found - meant).abs() <= allowed).all())


def _type(dtype: str) -> Any:
    import torch

    return getattr(torch, dtype, torch.float32)


def half_step(of: Tensor, dtype: str) -> Tensor:
    """Half the distance between neighbouring numbers of a 16-bit type, element by element."""
    import torch

    places, least = _MANTISSA[dtype]
    _, exponent = torch.frexp(of)
    return torch.ldexp(torch.ones_like(of), exponent - places).clamp(min=least)


def rounding_bound(of: Tensor, bits: int) -> float:
    """The relative error of rounding to the nearest of 2^bits even steps, with `SLACK`.

    One scale a row below 7 bits, one a tensor from there on (7 being 8 of a reduced range) and where a row is shorter
    than a block: the coarsest that is in use. A step s makes an error whose root mean square is s / sqrt(12).
    """
    rows = of.reshape(of.shape[0], -1) if of.dim() > 1 else of.reshape(1, -1)
    most = rows.abs().amax(1) if bits < 7 and rows.shape[1] >= _BLOCK else rows.abs().amax().expand(rows.shape[0])
    step = most / (2.0 ** (bits - 1) - 1)
    error = (step.square().sum() * rows.shape[1] / 12).sqrt() / rows.norm().clamp(min=1e-30)
    return min(SLACK * float(error), 0.7)
