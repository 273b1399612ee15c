"""weigh puts every machine-learning design choice on a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weigh.choice import Bench as Bench
    from weigh.choice import Block as Block
    from weigh.choice import Blocks as Blocks
    from weigh.choice import Choice as Choice
    from weigh.choice import Measure as Measure
    from weigh.choice import Needs as Needs
    from weigh.choice import Option as Option
    from weigh.choice import Task as Task
    from weigh.choice import Unfit as Unfit
    from weigh.choice import UsageError as UsageError
    from weigh.decision import Constraint as Constraint
    from weigh.decision import Decision as Decision
    from weigh.decision import Lock as Lock
    from weigh.decision import judge as judge
    from weigh.evidence import Evidence as Evidence
    from weigh.flow import decide as decide
    from weigh.ledger import Ledger as Ledger

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
