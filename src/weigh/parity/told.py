"""A chain of certificates as text: the answer first, then each hop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weigh.parity.certificate import Behaviour, Certificate, Chain, Divergence, Token
from weigh.parity.compare_facts import same

Line = tuple[str, str]
Section = tuple[str, list[Line]]


def answer(chain: Chain) -> str:
    """One sentence: which hop is to blame, and in which layer."""
    if chain.blamed is None:
        hops = len(chain.certificates)
        return f"Parity: {'the hop keeps its rule' if hops == 1 else f'all {hops} hops keep their rules'}."
    broken = chain.certificates[chain.blamed - 1]
    layer = "" if chain.layer is None else f"; the first layer that differs is layer {chain.layer}"
    which = "" if len(chain.certificates) == 1 else f"hop {chain.blamed}, "
    what = f"the {broken.hop.kind} from {_name(broken.before)} to {_name(broken.after)}"
    return f"No parity: {which}{what} breaks its rule{layer}."


def sections(chain: Chain) -> list[Section]:
    """A heading and labelled lines for each hop."""
    made = [_section(at, one) for at, one in enumerate(chain.certificates, 1)]
    left = len(chain.stages) - 1 - len(made)
    return [*made, (f"{left} later {'hop was' if left == 1 else 'hops were'} not looked at", [])] if left else made


def _section(at: int, one: Certificate) -> Section:
    how = f"{one.hop.text}{', told from the formats' if one.hop.guessed else ''}"
    title = f"{at}. {_name(one.before)} -> {_name(one.after)} ({how}): {'ok' if one.ok else 'differs'}"
    return title, list(_lines(one))


def _lines(one: Certificate) -> Iterator[Line]:
    yield "rule", f"{one.rule}"
    for finding in one.findings:
        yield "DIFFERS", f"{finding.topic}: {finding.what}"
        if finding.do:
            yield "", f"to do: {finding.do}"
    if one.facts:
        yield "facts", f"{_facts(one)}"
    if one.weights:
        of = one.weights
        rest = f", {of.within} changed as the rule allows" if of.within else ""
        bad = f", {of.outside} beyond it" if of.outside else ""
        worst = f"; greatest relative error {of.worst:.2g} ({of.worst_tensor})" if of.worst_tensor else ""
        whole = f"{of.identical} of {of.tensors} tensors are identical"
        if of.unseen:
            found = f"{of.tensors} of {of.tensors + of.unseen} tensors were found in {_name(one.after)}"
            whole = f"{found}; of these {of.identical} are identical"
        yield "weights", f"{whole}{rest}{bad}{worst}"
    if one.behaviour:
        yield from _behaviour(one, one.behaviour)
    if one.layers:
        first = one.layers.first
        found = "none" if first is None else f"layer {first} (relative error {one.layers.errors[first]:.2g})"
        yield "layers", f"each fed with what the stage before gave it; first beyond {one.layers.tolerance:g}: {found}"
    for note in one.notes:
        yield "note", f"{note}"


def _facts(one: Certificate) -> str:
    both = {name: pair for name, pair in one.facts.items() if None not in pair}
    others = [name for name, pair in both.items() if not same(*pair)]
    text = f"{len(both) - len(others)} of {len(both)} are the same"
    if others:
        text += f"; what differs is {', '.join(others)}"
    hidden = [name for name, (before, after) in one.facts.items() if before is not None and after is None]
    return f"{text}; {len(hidden)} cannot be seen in {_name(one.after)}" if hidden else text


def _behaviour(one: Certificate, of: Behaviour) -> Iterator[Line]:
    ends = f"{of.agreement:.1%} [{of.agreement_low:.1%}, {of.agreement_high:.1%}]"
    if of.unit == "token":
        kept = f"{of.identical} of {of.prompts} prompts are continued with the same greedy tokens"
        yield "greedy", f"{kept} ({of.greedy_tokens} tokens compared)"
        yield "argmax", f"agrees on {ends} of {of.units} tokens"
    elif of.answer == "nearest text":
        yield "nearest", f"{of.identical} of {of.prompts} texts have the same nearest text: {ends}"
    else:
        yield "labels", f"{of.identical} of {of.prompts} rows get the same label: {ends}"
    limit = "any" if one.tolerance.gap is None else f"{one.tolerance.gap:g}"
    gaps = f"mean {of.gap_mean:.2g}, p99 {of.gap_p99:.2g}, greatest {of.gap_max:.2g} nats"
    yield "gap", f"{gaps} of log-probability (mean allowed: {limit})"
    yield "KL", f"mean {of.kl_mean:.2g}, greatest {of.kl_max:.2g} nats a {of.unit}"
    if parts := of.divergence:
        yield "parts at", f"{_place(of, parts)}: {_token(parts.before)} -> {_token(parts.after)}"
        if parts.text:
            text = " ".join(parts.text.split())
            yield "", f"after '{text if len(text) < 70 else '...' + text[-67:]}'"


def _place(of: Behaviour, parts: Divergence) -> str:
    if of.unit == "token":
        return f"prompt {parts.prompt}, {parts.position} tokens in"
    return f"text {parts.prompt}, nearest text" if of.answer == "nearest text" else f"row {parts.prompt}, label"


def _token(one: Token) -> str:
    text = f"'{one.text}' ({one.id})" if one.text else str(one.id)
    return f"{text} at {one.before:.3f} / {one.after:.3f}"


def _name(path: str) -> str:
    return Path(path).name
