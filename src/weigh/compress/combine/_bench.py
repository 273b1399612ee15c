"""A model opened as for any other choice of compress; its report also says how steps act on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, Values


@final
class CombineBench(Bench):
    """What is measured is measured by the bench that it is given."""

    def __init__(self, inner: Bench) -> None:
        self._inner = inner

    @property
    def blocks(self) -> Blocks:
        return self._inner.blocks

    def prepare(self, option: Any) -> Any:
        return self._inner.prepare(option)

    def trial(self, subject: Any, block: Block) -> Values:
        return self._inner.trial(subject, block)

    def exhibits(self, subjects: Mapping[str, Any]) -> Sequence[Exhibit]:
        from weigh.compress.combine._interaction import interactions

        return [*self._inner.exhibits(subjects), *interactions(self._inner, subjects)]
