"""Facts of two stages side by side: which differ although the hop may not change them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, cast

from weigh.parity.certificate import Finding, Topic
from weigh.parity.facts import ABSENT, Facts
from weigh.parity.hops import Hop

_DO: dict[str, str] = {
    "tokenizer": "copy the tokenizer's files of the stage before, and save the tokenizer beside the model on this hop",
    "template": "copy chat_template.jinja (or chat_template of tokenizer_config.json) of the stage before",
    "special": "set the ids of the stage before in config.json, generation_config.json and the tokenizer",
    "rope": "carry rope_parameters and max_position_embeddings of config.json over",
    "tied": "keep tie_word_embeddings as it was, and save the head with it",
    "architecture": "carry config.json over as it was; only its dtype and quantization_config may change",
}
_DIGEST = re.compile("[0-9a-f]{16}")
_MAY: dict[str, tuple[str, ...]] = {"prune": ("architecture.",)}
_DERIVED = ("tokenizer.encoding", "template.rendered", "template.rendered_without_system", "template.tokens")
"""Follow from others: told on their own only where nothing explains them."""


def differing(before: Facts, after: Facts, hop: Hop) -> list[Finding]:
    """A finding for each fact that differs; facts that only one of the stages can show are left out."""
    names = [name for name in before if name in after and not _same(before[name], after[name])]
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


def _same(one: Any, other: Any) -> bool:
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
    else:
        hashed = "hash of the " if name.startswith("template") or _DIGEST.fullmatch(str(before)) else ""
        yield f"{hashed}{what} was {_short(before)}, is {_short(after)}"


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
