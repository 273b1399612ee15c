"""weigh puts every machine-learning design choice on a scale."""

from __future__ import annotations

from typing import Any

_PUBLIC = {
    "Bench": "weigh.choice",
    "Block": "weigh.choice",
    "Blocks": "weigh.choice",
    "Choice": "weigh.choice",
    "Measure": "weigh.choice",
    "Needs": "weigh.choice",
    "Option": "weigh.choice",
    "Task": "weigh.choice",
    "Unfit": "weigh.choice",
    "UsageError": "weigh.choice",
    "Constraint": "weigh.decision",
    "Decision": "weigh.decision",
    "Lock": "weigh.decision",
    "judge": "weigh.decision",
    "decide": "weigh.flow",
    "Evidence": "weigh.evidence",
    "Ledger": "weigh.ledger",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'weigh' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
