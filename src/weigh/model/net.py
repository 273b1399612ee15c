"""Nets without a Hugging Face config: exported archives (.pt2), and weights with the code that builds their net."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weigh.choice import UsageError
from weigh.model import archive
from weigh.model.artefact import digest
from weigh.model.source import Port, Source, not_numbers, reason

SCORES = Port("scores", "tensor(float)", (None, None))
LEAST = 2
"""Rows of the example that a net is exported with: one row would be taken for a constant."""


def describe_exported(path: Path) -> Source:
    """Check a `torch.export` archive.

    Raises:
        UsageError: it is damaged, takes several inputs, holds what could run code, or cannot be loaded.
    """
    program = _program(path)
    example: tuple[Any, ...] = (program.example_inputs or ((), {}))[0]
    if len(example) != 1:
        raise UsageError(f"model={path} takes {len(example)} inputs; weigh takes nets of one input, rows first")
    _need_numbers(path, program)
    free = _free_rows(program)
    shape = (None if free else int(example[0].shape[0]), *(int(size) for size in example[0].shape[1:]))
    port = Port("X", "tensor(float)", shape)
    return Source(path, "exported", "classifier", digest(path), inputs=(port,), outputs=(SCORES,))


def describe_weights(path: Path, architecture: str) -> Source:
    """Check weights and the code that builds their net.

    Raises:
        UsageError: no code is named, it cannot be run, or the weights do not fit it.
    """
    from weigh.model.huggingface import check_weights

    if not architecture:
        raise UsageError(
            f"model={path} holds weights alone; say which code builds the net (it is run): architecture=net.py:build"
        )
    check_weights(path)
    build(path, architecture)
    port = Port("X", "tensor(float)", ())
    return Source(path, "module", "classifier", digest(path), architecture, inputs=(port,), outputs=(SCORES,))


def build(path: Path, architecture: str) -> Any:
    """The net that the code builds, with these weights.

    Raises:
        UsageError: the code cannot be found or run, or builds another net.
    """
    from safetensors.torch import load_file

    net = made(architecture)
    try:
        net.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UsageError(
            f"model={path} does not fit architecture={architecture}: {' '.join(str(error).split())[:300]}"
        ) from None
    return net.eval().requires_grad_(False)


def made(architecture: str) -> Any:
    """The net that ``net.py:build`` builds, with the weights that it gives it; the file is run.

    Raises:
        UsageError: it cannot be found or run, or gives something else.
    """
    import torch

    file, _, name = architecture.rpartition(":")
    if not file:
        raise UsageError(
            f"architecture={architecture} names a file alone; say which function in it builds the net: "
            f"architecture={architecture}:build"
        )
    if not Path(file).is_file():
        raise UsageError(
            f"architecture={architecture}: there is no file {file}; you are in {Path.cwd()}; type it as net.py:build"
        )
    spec = importlib.util.spec_from_file_location("weigh_architecture", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"architecture={architecture}: {file} is no file of Python code; type it as net.py:build")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        net = getattr(module, name)()
    except (Exception, SystemExit) as error:  # code of the user's may raise anything
        raise UsageError(
            f"architecture={architecture} cannot be run: {type(error).__name__}: {reason(error)}"
        ) from None
    if not isinstance(net, torch.nn.Module):
        raise UsageError(f"architecture={architecture} gives {type(net).__name__}, not a torch.nn.Module")
    return net


def load(source: Source, dtype: str = "float32") -> Any:
    """The net as a module that takes rows and gives scores."""
    import torch

    if source.format == "exported":
        return _program(source.path).module()
    return build(source.path, source.architecture).to(getattr(torch, dtype))


def save(module: Any, source: Source, target: Path) -> Path:
    """Write a net as a .pt2 archive; the source's input says what a row is, and how many there are, if not any number.

    Raises:
        Unfit: torch.export cannot trace it.
    """
    import torch

    from weigh.choice import Unfit

    example = example_rows(module, source)
    free = ({0: torch.export.Dim("rows", min=1)},) if source.batch is None else None
    try:
        ready = module if isinstance(module, torch.fx.GraphModule) else module.eval()  # an archive's is in eval mode
        with _quiet():
            program = torch.export.export(ready, (example,), dynamic_shapes=free)
    except Exception as error:  # torch.export raises errors of many kinds
        raise Unfit(f"torch.export cannot trace the net: {type(error).__name__}: {reason(error)}") from None
    with _quiet():
        torch.export.save(program, target)
    return target


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a warning of torch.export about its own code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*isinstance\(treespec", FutureWarning)
        yield


def example_rows(module: Any, source: Source) -> Any:
    """Rows of zeros in the shape that the net takes, in the numbers of its weights: two, or as many as it insists on.

    Raises:
        UsageError: nothing says what shape that is.
    """
    import torch

    inner = [size for size in source.inputs[0].shape[1:] if size is not None] if source.inputs else []
    if not inner:
        raise UsageError(f"nothing says what shape a row of {source.path} has; judge it on rows first")
    numbers = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return torch.zeros(source.batch or LEAST, *inner, dtype=numbers)


def _program(path: Path) -> Any:
    with _quiet():
        return archive.load(path)


def _need_numbers(path: Path, program: Any) -> None:
    import torch

    for name, tensor in program.state_dict.items():
        if tensor.is_floating_point() and (bad := int((~torch.isfinite(tensor.float())).sum())):
            raise UsageError(not_numbers(path, name, bad, tensor.numel()))


def _free_rows(program: Any) -> bool:
    import torch

    names = program.graph_signature.user_inputs
    node = next(node for node in program.graph.nodes if node.name == names[0])
    return isinstance(node.meta["val"].shape[0], torch.SymInt)
