"""One hop: two stages, what the hop may change, and the certificate of what it changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.model.source import Source
from weigh.parity import behave, layers, rows
from weigh.parity import probe as tokens
from weigh.parity.adapter import Update, applied, read
from weigh.parity.certificate import Behaviour, Certificate, Divergence, Finding, Layers, Weights
from weigh.parity.compare_facts import differing, shown
from weigh.parity.hops import Hop, Tolerance, rule, tolerance
from weigh.parity.hops import hop as hop_of
from weigh.parity.stage import Stage, layer_of
from weigh.parity.tensors import Tensors
from weigh.parity.weights import Comparison

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Asked:
    """How much is compared.

    Attributes:
        prompts, new_tokens: prompts, and tokens written greedily after each.
        seed: which prompts, and in which order.
        text: a text to take the prompts from; built-in ones when None.
        rows: inputs of a classifier, an .npz; random ones when None.
        architecture: what builds a net for a .safetensors file, ``net.py:build``; it is run.
        tolerance: of hops that state none, nats a token.
        stop: whether to stop at the first hop that breaks its rule, which is the one to blame.
    """

    prompts: int = tokens.PROMPTS
    new_tokens: int = tokens.NEW_TOKENS
    seed: int = 0
    text: Path | None = None
    rows: Path | None = None
    architecture: str = ""
    tolerance: float | None = None
    stop: bool = False


@dataclass
class Reader:
    """Runs the stages of a pipeline on the same tokens, each once."""

    asked: Asked
    probe: tokens.Probe | None = None
    tokenizer: Any = None
    feeds: dict[str, Any] | None = None
    answers: dict[Any, Tensor] = field(default_factory=dict)

    def read(self, stage: Stage, adapter: Path | None = None, updates: dict[str, Update] | None = None) -> Tensor:
        """The stage's log-probabilities; with an adapter, those of stage and adapter side by side."""
        key = (id(stage), adapter)
        if key not in self.answers and stage.kind != "language":
            self.feeds = self.feeds or rows.feeds(stage, self.asked.rows, 16 * self.asked.prompts, self.asked.seed)
            self.answers[key] = rows.scores(stage, self.feeds)
        if key not in self.answers:
            module = None if stage.format in ("onnx", "exported") else stage.module()
            if updates:
                module = applied(module, updates)
            answer = stage.answer(module)
            if self.probe is None:
                self.probe = self._probe(stage, module, answer)
            self.answers[key] = behave.logprobs(answer, self.probe)
        return self.answers[key]

    def _probe(self, stage: Stage, module: Any, answer: Any) -> tokens.Probe:
        import torch

        self.tokenizer = tok = stage.tokenizer
        size = answer(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.int64)).shape[-1]
        chosen = tokens.prompts(tok, size, self.asked.prompts, self.asked.seed, self.asked.text)
        cached = module if stage.format in ("huggingface", "gguf") else None
        return tokens.written(chosen, cached, answer, self.asked.new_tokens)

    def forget(self, stage: Stage) -> None:
        """Drop what a stage answered."""
        for key in [key for key in self.answers if key[0] == id(stage)]:
            del self.answers[key]


def certify(
    before: Stage | Source | Path | str, after: Stage | Source | Path | str, kind: Hop | str, asked: Asked | None = None
) -> Certificate:
    """The certificate of one hop.

    Args:
        before, after: the model on both sides, opened or by its path.
        kind: what the hop was meant to do, as `hop` reads it: ``copy``, ``cast:dtype=bfloat16``, ...

    Raises:
        UsageError: one of them cannot be opened, they are of different kinds, or the adapter cannot be read.
    """
    asked = asked or Asked()
    one, other = (_stage(of, asked) for of in (before, after))
    meant = hop_of(kind) if isinstance(kind, str) else kind
    if meant.tolerance is None:
        meant = meant.model_copy(update={"tolerance": asked.tolerance})
    return certified(one, other, meant, Reader(asked))


def _stage(of: Stage | Source | Path | str, asked: Asked) -> Stage:
    if isinstance(of, Stage):
        return of
    if isinstance(of, Source):
        return Stage(of.path, of.architecture)
    return Stage(of, asked.architecture if Path(of).suffix == ".safetensors" else "")


def certified(
    before: Stage,
    after: Stage,
    hop: Hop,
    reader: Reader,
    earlier: Sequence[tuple[str, Stage]] = (),
    known: dict[str, Any] | None = None,
) -> Certificate:
    """Compare two neighbouring stages of a pipeline.

    Args:
        reader: of the pipeline, so that no stage is run twice.
        earlier: stages before `before`, to recognise weights that are theirs.
        known: facts of earlier stages, for what `before` cannot show.

    Raises:
        UsageError: the stages are of different kinds, or the adapter cannot be read.
    """
    start = time.perf_counter()
    if before.kind != after.kind:
        raise UsageError(
            f"{before.path} is a {before.kind} and {after.path} a {after.kind}: they are no stages of one model; "
            "name two that are"
        )
    updates = read(hop.adapter) if hop.adapter else {}
    notes: list[str] = []
    facts = {**(known or {}), **before.facts}
    findings = differing(facts, after.facts, hop)
    weights, found = _weights(before, after, hop, updates, earlier, notes)
    found += _clipped(after, reader)
    kept = _kept(after)
    limits = tolerance(hop, *kept, _rounds_activations(after))
    behaviour, wrong = _behaviour(before, after, hop, updates, reader, limits, notes)
    parts = _layers(before, after, updates, reader, limits, notes) if wrong else None
    findings += found + _hinted(wrong, parts)
    return Certificate(
        before=str(before.path),
        after=str(after.path),
        hop=hop,
        rule=rule(hop, *kept),
        tolerance=limits,
        facts={name: (shown(name, facts), shown(name, after.facts)) for name in sorted({*facts, *after.facts})},
        weights=weights,
        behaviour=behaviour,
        layers=parts,
        findings=tuple(findings),
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def _weights(
    before: Stage,
    after: Stage,
    hop: Hop,
    updates: dict[str, Update],
    earlier: Sequence[tuple[str, Stage]],
    notes: list[str],
) -> tuple[Weights | None, list[Finding]]:
    ours, theirs = before.tensors, after.tensors
    if before.format == after.format == "onnx":
        from weigh.parity.onnx_stage import OnnxTensors

        ours, theirs = OnnxTensors(before.path, raw=True), OnnxTensors(after.path, raw=True)
        theirs.pair(ours)
    if ours is None or theirs is None or not set(ours.names()) & set(theirs.names()):
        notes.append(f"weights were not compared: those of {after.name} cannot be told apart by name")
        return None, []
    if strange := [name for name in updates if name not in set(ours.names())]:
        raise UsageError(
            f"the adapter {hop.adapter} changes {strange[0]}, which {before.path} does not have; name its own"
        )
    past = [(title, stage.tensors) for title, stage in earlier if stage.tensors is not None]
    made = Comparison(ours, theirs, hop, updates, [(title, tensors) for title, tensors in past if tensors])
    found = made.run()
    if len(made.outside) > len(made.findings):
        notes.append(
            f"{found.outside} of {found.tensors} tensors are not as the hop's rule allows; the first are named"
        )
    if found.unseen and not theirs.complete:
        notes.append(f"{found.unseen} tensors of {before.name} could not be found by name in {after.name}")
    return found, made.findings


MOST_CLIPPED = 0.01
"""Share of an activation's values that a calibrated range may cut off: percentile calibration means to cut 0.1 %."""


def _clipped(after: Stage, reader: Reader) -> list[Finding]:
    """Activations whose frozen range does not fit what the prompts make of them."""
    if after.format != "onnx" or reader.probe is None:
        return []
    from weigh.parity.onnx_stage import clipped

    found = clipped(after.path, *reader.probe.part(0, 4)[:2])
    bad = [one for one in found if one[1] > MOST_CLIPPED]
    if not bad:
        return []
    name, share, low, high = max(bad, key=lambda one: one[1])
    return [
        Finding(
            topic="activations",
            where=name,
            layer=layer_of(f"{name}."),
            what=f"{len(bad)} of {len(found)} activations leave their calibrated range; the worst is {name}, "
            f"{share:.1%} of which lie outside [{low:.3g}, {high:.3g}]",
            do="calibrate again on data like those that the model will meet",
        )
    ]


def _rounds_activations(stage: Stage) -> bool:
    if stage.format != "onnx":
        return False
    from weigh.parity.onnx_stage import rounds_activations

    return rounds_activations(stage.path)


def of_file(stage: Stage) -> Tensors | None:
    """A stage's weights, those of an ONNX file by the names that they have there, so that none is left out."""
    if stage.format != "onnx":
        return stage.tensors
    from weigh.parity.onnx_stage import OnnxTensors

    return OnnxTensors(stage.path, raw=True)


def _kept(after: Stage) -> tuple[str, int]:
    """The narrowest float type and the fewest bits among a stage's weights."""
    tensors = of_file(after)
    if tensors is None:
        return "float32", after.bits
    kept = [tensors.kept(name) for name in tensors.names()]
    width = {"bfloat16": 0, "float16": 1, "float32": 2, "float64": 3}
    dtypes = sorted({dtype for dtype, _ in kept if dtype in width}, key=lambda dtype: width[dtype])
    fewest = min((bits for _, bits in kept if bits), default=0)
    return (dtypes or ["float32"])[0], after.bits if after.format == "onnx" else fewest


def _behaviour(
    before: Stage,
    after: Stage,
    hop: Hop,
    updates: dict[str, Update],
    reader: Reader,
    limits: Tolerance,
    notes: list[str],
) -> tuple[Behaviour | None, list[Finding]]:
    import torch

    one = reader.read(before, hop.adapter, updates)
    other = reader.read(after)
    if not bool(torch.isfinite(other).all()):
        return None, [Finding(topic="behaviour", what=f"{after.name} answers NaN", do="look for weights that overflow")]
    if reader.probe is None:
        if one.shape != other.shape:
            raise UsageError(
                f"{before.path} has {one.shape[1]} classes and {after.path} {other.shape[1]}: name one model"
            )
        found = rows.compared(one, other, rows.answer_of(before))
    else:
        found = behave.compared(one, other, reader.probe, reader.tokenizer)
    return found, _judged(found, limits)


def _judged(found: Behaviour, limits: Tolerance) -> list[Finding]:
    findings = []
    if limits.gap is not None and found.gap_mean > limits.gap:
        findings.append(
            Finding(
                topic="behaviour",
                where="log-probabilities",
                what=f"log-probabilities differ by {found.gap_mean:.3g} nats a {found.unit} on average; this hop "
                f"allows {limits.gap:g}",
                do="state another limit with tolerance=X if this is as you mean it",
            )
        )
    parts = found.divergence
    near = 0.0 if parts is None else parts.before.before - parts.after.before
    if limits.greedy and parts is not None and near > 10 * (limits.gap or 0):
        findings.append(_parted(found, parts))
    return findings


def _parted(found: Behaviour, first: Divergence) -> Finding:
    """That greedy tokens part, or that a row is answered otherwise."""
    many, ids = f"{found.prompts - found.identical} of {found.prompts}", f"{first.before.id}, is {first.after.id}"
    where, what, kept = {
        "token": (
            "greedy tokens",
            f"greedy tokens part on prompt {first.prompt} after {first.position} tokens",
            "any greedy token",
        ),
        "label": (
            "labels",
            f"{many} rows get another label; the first is row {first.prompt}, whose label was {ids}",
            "any label",
        ),
        "nearest text": (
            "nearest texts",
            f"{many} texts have another nearest text; the first is text {first.prompt}, whose nearest was text {ids}",
            "which text is nearest to another",
        ),
    }[found.answer]
    return Finding(topic="behaviour", where=where, what=what, do=f"this hop must not change {kept}")


def _hinted(wrong: list[Finding], parts: Layers | None) -> list[Finding]:
    """Findings in outputs, the first layer that differs being named where one is known."""
    if parts is None or parts.first is None:
        return wrong
    hint = f"look at layer {parts.first}, the first that differs; "
    return [one.model_copy(update={"do": hint + one.do}) if one.where == "log-probabilities" else one for one in wrong]


def _layers(
    before: Stage, after: Stage, updates: dict[str, Update], reader: Reader, limits: Tolerance, notes: list[str]
) -> Layers | None:
    if reader.probe is None:
        return None
    if "onnx" in (before.format, after.format):
        return _onnx_layers(before, after, updates, reader.probe, limits, notes)
    if "exported" in (before.format, after.format):
        notes.append("layers are not visible in a .pt2 archive: only whole outputs were compared")
        return None
    module = applied(before.module(), updates)
    found = layers.compared(module, after.module(), reader.probe, limits.layer or 1.0)
    if found is None:
        notes.append("the stages have not the same layers, so no layer could be compared alone")
    return found


def _onnx_layers(
    before: Stage, after: Stage, updates: dict[str, Update], probe: tokens.Probe, limits: Tolerance, notes: list[str]
) -> Layers | None:
    states = []
    for stage in (before, after):
        module = None if stage.format == "onnx" else applied(stage.module(), updates if stage is before else {})
        states.append(layers.states(stage.path if module is None else module, probe))
    found = None
    if states[0] is not None and states[1] is not None:
        found = layers.in_a_row(states[0], states[1], probe, limits.layer or 1.0)
    if found is None:
        notes.append("layers are not visible in the ONNX file: only whole outputs were compared")
    return found
