"""`torch.compile` on the CPU, which writes C++ and needs a compiler for it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from typing import Any

from weigh.choice import Unfit


def need_compiler(who: str) -> None:
    """Raises `Unfit` where `who` finds no C++ compiler, or torch where a compiler does not."""
    import torch

    home = os.path.dirname(torch.__file__)
    if any(letter.isspace() for letter in home):
        raise Unfit(
            f"{who} compiles with the headers of torch, which torch does not find under a path with a blank ({home}): "
            "make the environment in a folder without one"
        )
    wanted = os.environ.get("CXX", "g++")
    if shutil.which(wanted) is None:
        raise Unfit(
            f"{who} writes C++ and finds no compiler '{wanted}': install one (Debian and Ubuntu: apt-get install g++), "
            "or name it in the environment variable CXX"
        )


def compiled(function: Callable[..., Any], **how: Any) -> Callable[..., Any]:
    """`torch.compile(function, **how)`.

    Raises:
        Unfit: there is no C++ compiler.
    """
    import torch

    need_compiler("torch.compile")
    with warnings.catch_warnings():  # torch's own compiler is built on what torch deprecates
        warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
        import torch._dynamo
        import torch._inductor.compile_fx
    # One function serves many shapes and models; beyond the limit torch would run it uncompiled and say nothing.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    made: Callable[..., Any] = torch.compile(function, **how)
    return made
