"""An ONNX file, interpreted in NumPy: what its operators mean, by the standard's own code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Unfit
from weigh.model.source import reason
from weigh.serve.runtime import Served

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


@final
class ReferenceServed(Served):
    """ONNX's reference evaluator.

    Raises:
        Unfit: the file has an operator that the standard does not define; the text names it.
    """

    def __init__(self, path: Path, source: Source) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        model = onnx.load(path)
        foreign = sorted({f"{node.domain}.{node.op_type}" for node in model.graph.node if _foreign(node, model)})
        if foreign:
            raise Unfit(
                f"{path} has operators that ONNX does not define ({', '.join(foreign)}), so that its meaning can be "
                "looked up nowhere: give the model from which it was exported"
            )
        self._evaluator, self._output = ReferenceEvaluator(model), source.outputs[0].name

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        made: Any = self._evaluator.run([self._output], dict(feed))
        return as_table(made[0], self._output)


def _foreign(node: Any, model: Any) -> bool:
    own = {(one.domain, one.name) for one in model.functions}
    return node.domain not in ("", "ai.onnx", "ai.onnx.ml") and (node.domain, node.op_type) not in own


def as_table(raw: Any, name: str) -> NDArray[np.float32]:
    """An output as numbers, shape (rows, width).

    Raises:
        Unfit: it is text, or no array.
    """
    import numpy as np

    try:
        table = np.asarray(raw)
        return table.reshape(len(table), -1).astype(np.float32)
    except (ValueError, TypeError) as error:
        raise Unfit(f"the output '{name}' is no table of numbers ({reason(error)}); name another: output=...") from None
