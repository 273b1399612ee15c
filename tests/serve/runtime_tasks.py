"""Tasks for serve/runtime and serve/precision: a tiny Llama, a tiny BERT, a tiny net of convolutions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

USERS_CACHE = os.environ.get("WEIGH_CACHE")


@contextmanager
def users_cache() -> Iterator[None]:
    """The cache that tests were started with, where real models and data are kept and need not be made again."""
    with pytest.MonkeyPatch.context() as patch:
        if USERS_CACHE is None:
            patch.delenv("WEIGH_CACHE", raising=False)
        else:
            patch.setenv("WEIGH_CACHE", USERS_CACHE)
        yield


NET = """
import torch
from torch import nn


class Net(nn.Module):
    row_shape = (1, 8, 8)

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5),
        )

    def forward(self, X):
        return CHANGE(self.parts(X))


def build():
    return Net()
"""


def conv_fields(folder: Path, change: str = "") -> dict[str, object]:
    """A net with random weights, and rows for it; `change` is what is done to its scores last."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    code = folder / "net.py"
    code.write_text(NET.replace("CHANGE", change))
    scope: dict[str, object] = {}
    exec(compile(code.read_text(), code, "exec"), scope)
    torch.manual_seed(0)
    net = scope["build"]()  # type: ignore[operator]
    with torch.no_grad():
        net.parts[1].running_mean.normal_()
        net.parts[1].running_var.uniform_(0.5, 2)
    save_file(net.state_dict(), folder / "net.safetensors")
    random = np.random.default_rng(0)
    X, y = random.normal(size=(120, 1, 8, 8)).astype(np.float32), random.integers(5, size=120)
    np.savez(folder / "rows.npz", X=X, y=y)
    return {"model": folder / "net.safetensors", "architecture": f"{code}:build", "data": folder / "rows.npz"}


def bert_fields(folder: Path) -> dict[str, object]:
    """A BERT with random weights, and labelled texts."""
    import polars as pl
    import torch
    from transformers import BertConfig, BertModel

    from weigh.model.toy import save_llama

    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = BertConfig(vocab_size=256, max_position_embeddings=64, initializer_range=0.3, **sizes)
    save_llama(BertModel(config, add_pooling_layer=False).eval(), folder / "model")
    random = np.random.default_rng(0)
    words = [" ".join(f"w{one}" for one in random.integers(3, 256, length)) for length in random.integers(2, 9, 120)]
    labels = list(itertools.islice(itertools.cycle(["left", "right"]), len(words)))
    pl.DataFrame({"text": words, "label": labels}).write_parquet(folder / "texts.parquet")
    return {"model": folder / "model", "data": folder / "texts.parquet", "label": "label", "window": 8}


def llama_fields(folder: Path) -> dict[str, object]:
    """A Llama with random weights and grouped queries, and words for it to read."""
    from weigh.model.toy import write_language_toy

    made = write_language_toy(folder, 0, layers=1)
    return {"model": made.model, "data": made.data, "prompt_tokens": 8}
