"""From a net to a graph: `torch.export` with free rows and tokens, and what says which operator stands in the way."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import Unfit
from weigh.model.source import reason
from weigh.serve.runtime._net import load_net, names_of

if TYPE_CHECKING:
    from weigh.model.source import Source
    from weigh.serve.runtime import Calibration

ROWS, TOKENS = 4096, 4096
"""The most rows and tokens that an exported graph promises to take."""


def exported(source: Source, calibration: Calibration, who: str) -> tuple[Any, tuple[Any, ...], Any]:
    """The graph, the example that it was traced with, and its free dimensions.

    Raises:
        Unfit: it cannot be traced; the text names what stands in the way.
    """
    import torch

    net, given = load_net(source, who), example(source, calibration)
    free = free_dimensions(source)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(net, given, dynamic_shapes=free)
    except Exception as error:  # torch.export raises errors of many kinds
        raise Unfit(untraceable(error)) from None
    return program, given, free


def example(source: Source, calibration: Calibration) -> tuple[Any, ...]:
    """Rows that the task has, as tensors: shapes in them are not taken for constants."""
    import torch

    return tuple(torch.from_numpy(calibration.feeds[name].copy()) for name in names_of(source))


def free_dimensions(source: Source) -> Any:
    """Rows, and tokens where there are any, are free; an archive whose rows are fixed stays so."""
    from torch.export import Dim

    if source.batch is not None:
        return None
    rows = Dim("rows", min=1, max=ROWS)
    if source.kind == "classifier":
        return ({0: rows},)
    tokens = Dim("tokens", min=2, max=_longest(source))
    return tuple({0: rows, 1: tokens} for _ in names_of(source))


def _longest(source: Source) -> int:
    """The most tokens: no more than the model has places for."""
    from weigh.model.huggingface import read_json

    config = read_json(source.path / "config.json") if source.format == "huggingface" else {}
    return min(int(config.get("max_position_embeddings") or TOKENS), TOKENS)


def untraceable(error: Exception) -> str:
    """What torch.export says, with what to do."""
    text = f"{type(error).__name__}: {reason(error)}"
    return (
        f"torch.export cannot trace the net ({text}): its code must not branch on values of tensors, call libraries "
        "other than torch, or fix the number of rows; change that, or leave this option out"
    )


def to_onnx(source: Source, calibration: Calibration, folder: Path, who: str) -> Path:
    """Write the net as one .onnx file with its weights.

    Raises:
        Unfit: it cannot be traced, or has an operator that ONNX lacks; the text names it.
    """
    import torch

    program, given, free = exported(source, calibration, who)
    names = names_of(source)
    try:
        with quiet(), torch.no_grad():
            made = torch.onnx.export(
                program, given, dynamo=True, input_names=list(names), output_names=["answer"], dynamic_shapes=free,
                external_data=False, verbose=False, optimize=True,
            )  # fmt: skip
    except Exception as error:  # the exporter raises errors of many kinds
        raise Unfit(untranslatable(error, "ONNX")) from None
    assert made is not None
    target = folder / "model.onnx"
    made.save(target, external_data=False)
    return target


def untranslatable(error: Exception, to: str) -> str:
    """Which operators have no counterpart, and what to do."""
    text = "\n".join(str(one) for one in (error, error.__cause__, getattr(error, "__context__", None)) if one)
    names = sorted({name for found in OPERATORS.findall(text) for name in found if name})
    if names:
        return (
            f"the net uses {', '.join(names)}, which {to} has no translation for: write it with other operators, or "
            "leave this option out"
        )
    return f"the net cannot be translated to {to} ({type(error).__name__}: {reason(error)}): leave this option out"


OPERATORS = re.compile(r"OpOverload\(op='([\w:.]+)'|No conversion rule found for operations: ([\w:., ]+?)(?:\n|$)")


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn of what torch deprecates in itself, and log what they skip: none of it is the user's."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", module=r"torch\.|onnxscript\.|openvino\.|copyreg")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
