"""Facts of two stages side by side: which differ although the hop may not change them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

from weigh.parity.certificate import Finding, Topic
from weigh.parity.facts import ABSENT, UNSET, Facts, Hashed
from weigh.parity.hops import Hop

_DO: dict[str, str] = {
    "tokenizer": "copy the tokenizer's files of the stage before, and save the tokenizer beside the model on this hop",
    "template": "copy chat_template.jinja (or chat_template of tokenizer_config.json) of the stage before",
    "special": "set the ids of the stage before in config.json, generation_config.json and the tokenizer",
    "rope": "carry rope_parameters and max_position_embeddings of config.json over",
    "tied": "keep tie_word_embeddings as it was, and save the head with it",
    "architecture": "carry config.json over as it was; only its dtype and quantization_config may change",
}
_CALLED = {
    "template.text": "chat template",
    "template.rendered": "a conversation as the chat template writes it",
    "template.rendered_without_system": "a conversation without a system message as the chat template writes it",
    "template.tokens": "the tokens of a conversation",
    "tokenizer.encoding": "the tokens of fixed texts",
}
_NOTHING = object()
_BEFORE, _SHOWN = 24, 72
"""Characters of a line that are shown before the first that differs, and in all."""
_MAY: dict[str, tuple[str, ...]] = {"prune": ("architecture.",)}
_DERIVED = ("tokenizer.encoding", "template.rendered", "template.rendered_without_system", "template.tokens")
"""Follow from others: told on their own only where nothing explains them."""


def differing(before: Facts, after: Facts, hop: Hop) -> list[Finding]:
    """A finding for each fact that differs; facts that only one of the stages can show are left out."""
    names = [name for name in before if name in after and not same(before[name], after[name])]
    if hop.kind == "gguf":
        names = [name for name in names if not _said_elsewhere(name, before, after[name])]
    names = [name for name in names if not name.startswith(_MAY.get(hop.kind, ()) or "-")]
    causes = [name for name in names if name not in _DERIVED]
    told = causes or names
    return [_finding(name, before, after) for name in told]


def _said_elsewhere(name: str, before: Facts, value: Any) -> bool:
    """Whether a special token is the one of the config or of generation: GGUF has room for one of the three."""
    of = name.removeprefix("special.")
    said = [before.get(f"special.{place}_{of}") for place in ("config", "generation")]
    return name.startswith("special.") and any(value == one or (isinstance(one, list) and value in one) for one in said)


def same(one: Any, other: Any) -> bool:
    """Equal, or the same number once it is kept in float32, as GGUF does."""
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _finding(name: str, before: Facts, after: Facts) -> Finding:
    topic = name.partition(".")[0]
    return Finding(
        topic=cast(Topic, topic),
        where=name,
        what="; ".join(_words(name, before[name], after[name])),
        do=_DO[topic],
    )


def _words(name: str, before: Any, after: Any) -> Iterator[str]:
    what = name.partition(".")[2].replace("_", " ")
    if after == ABSENT:
        yield f"the {_subject(name)} is gone"
    elif before == ABSENT:
        yield f"there is a {_subject(name)} now, which there was not"
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _in_dict(what, before, after)
    elif isinstance(before, Hashed) and isinstance(after, Hashed):
        yield f"{_CALLED.get(name, what)}{first_difference(before.of, after.of)}"
    else:
        yield f"{what} was {_short(before)}, is {_short(after)}"


def shown(name: str, facts: Facts) -> Any:
    """A fact as a certificate keeps it: None only where the stage cannot show it."""
    value = facts.get(name)
    return UNSET if value is None and name in facts else value


def first_difference(before: Any, after: Any, where: str = "") -> str:
    """Where two values first differ, and what stands there.

    >>> first_difference("{% for m in messages %}\\nUser: ", "{% for m in messages %}\\nHuman: ")
    " differs first in line 2: was 'User: ', is 'Human: '"
    >>> first_difference({"type": "NFC"}, {"type": "Lowercase"})
    " differs first at type: was 'NFC', is 'Lowercase'"
    """
    if isinstance(before, dict) and isinstance(after, dict):
        both = {**before, **after}
        key = next(key for key in both if before.get(key, _NOTHING) != after.get(key, _NOTHING))
        return first_difference(before.get(key, _NOTHING), after.get(key, _NOTHING), f"{where} {key}")
    if isinstance(before, str) and isinstance(after, str) and not where:
        lines, others = before.split("\n"), after.split("\n")
        at = _parting(lines, others)
        return f" differs first in line {at + 1}: {_changed(*(_at(of, at) for of in (lines, others)))}"
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        at = _parting(before, after)
        one, other = _at(before, at), _at(after, at)
        if all(isinstance(each, list | tuple | dict) and len(each) > 2 for each in (one, other)):
            return first_difference(one, other, f"{where} item {at}")
        return f" differs first at{where} item {at} of {len(before)} (now {len(after)}): {_changed(one, other)}"
    return f" differs first at{where}: {_changed(before, after)}" if where else f": {_changed(before, after)}"


def _at(of: Sequence[Any], at: int) -> Any:
    return of[at] if at < len(of) else _NOTHING


def _changed(before: Any, after: Any) -> str:
    """Both values, long ones cut to what stands around the first character that differs."""
    if before is _NOTHING:
        return f"there was nothing, is {_cut(_text(after), 0)}"
    if after is _NOTHING:
        return f"was {_cut(_text(before), 0)}, is gone"
    one, other = _text(before), _text(after)
    start = max(_parting(one, other) - _BEFORE, 0)
    return f"was {_cut(one, start)}, is {_cut(other, start)}"


def _text(of: Any) -> str:
    return UNSET if of is None else f"'{of}'" if isinstance(of, str) else json.dumps(of, ensure_ascii=False)


def _cut(text: str, start: int) -> str:
    more = "..." if len(text) > start + _SHOWN else ""
    return f"{'...' if start else ''}{text[start : start + _SHOWN]}{more}"


def _parting(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The first place at which two sequences are not the same."""
    return next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def _subject(name: str) -> str:
    return "chat template" if name.startswith("template") else "tokenizer"


def _in_dict(what: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for verb, one, other in (("lost", before, after), ("gained", after, before)):
        if keys := [key for key in one if key not in other]:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            yield f"{what} {verb} " + ", ".join(f"{key}: {_short(one[key])}" for key in keys[:3]) + more
    for key in (key for key in before if key in after and before[key] != after[key]):
        yield f"{what}: {key} was {_short(before[key])}, is {_short(after[key])}"


def _short(value: Any) -> str:
    text = "not set" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
