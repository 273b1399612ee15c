"""YAML as people write it by hand: a key that stands twice is a mistake, not a choice of the last."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class _Once(yaml.SafeLoader):
    """Plain values only, and no key twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable) and name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{name}' stands twice, in line {seen[name]} and in line {key.start_mark.line + 1}"
                )
            if isinstance(name, Hashable):
                seen[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def load(text: str) -> Any:
    """What one YAML document holds.

    Raises:
        yaml.YAMLError: it is no YAML, or a key stands twice.
    """
    return yaml.load(text, Loader=_Once)
