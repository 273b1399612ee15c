"""An encoder in fewer bits: vectors that point where the original's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weigh import catalog
from weigh.choice import Unfit
from weigh.compress.quantize import Calibration, Quantize
from weigh.model.module import load_module
from weigh.model.runner import ModuleRunner
from weigh.model.source import Source, open_source


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, dict[str, np.ndarray]]:
    """A BERT of random weights, and padded rows of tokens."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                            num_attention_heads=4, max_position_embeddings=32)  # fmt: skip
        BertModel(config).save_pretrained(folder)
    random = np.random.default_rng(0)
    lengths = random.integers(4, 17, 80)
    mask = (np.arange(16) < lengths[:, None]).astype(np.int64)
    return open_source(folder), {"input_ids": random.integers(5, 128, (80, 16)) * mask, "attention_mask": mask}


def vectors(source: Source, feeds: dict[str, np.ndarray]) -> Any:
    return ModuleRunner(load_module(source), pooled=True, threads=1, batch=8).answer(feeds)


@pytest.mark.parametrize(
    "spec, least",
    [
        ("bfloat16", 0.999),
        ("int8_weights", 0.999),
        ("int8_dynamic", 0.998),
        ("int8_static", 0.995),
        ("int8_static:calibration=percentile", 0.99),
        ("int8_static:calibration=entropy", 0.98),
        ("gptq", 0.97),
        ("mixed", 0.97),
        ("int4_weights", 0.96),
    ],
)
def test_vectors_keep_their_direction(
    choice: Quantize, encoder: tuple[Source, dict[str, np.ndarray]], tmp_path: Path, spec: str, least: float
) -> None:
    source, feeds = encoder
    some = Calibration({name: values[:40].copy() for name, values in feeds.items()})
    path = catalog.find(choice, spec).convert(source, some, tmp_path)  # type: ignore[attr-defined]
    rest = {name: values[40:] for name, values in feeds.items()}
    mine, theirs = vectors(open_source(path), rest), vectors(source, rest)
    assert (mine * theirs).sum(1).min() > least
    before, after = ((folder / "model.safetensors").stat().st_size for folder in (source.path, path))
    assert after < (0.55 if spec == "bfloat16" else 0.35) * before


def test_padding_says_nothing_about_ranges(
    choice: Quantize, encoder: tuple[Source, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    """Rows with much padding give the scales that the same rows give with little of it."""
    source, feeds = encoder
    longer = {name: np.pad(values[:20], ((0, 0), (0, 8))) for name, values in feeds.items()}
    scales = []
    for place, some in enumerate(({name: values[:20].copy() for name, values in feeds.items()}, longer)):
        (tmp_path / str(place)).mkdir()
        option = catalog.find(choice, "int8_static")
        path = option.convert(source, Calibration(some), tmp_path / str(place))  # type: ignore[attr-defined]
        layers = load_module(open_source(path)).encoder.layer
        scales.append([float(layer.attention.self.query.input_scale) for layer in layers])
    assert scales[0] == pytest.approx(scales[1], rel=1e-4)


def test_one_scale_a_channel_is_what_static_has_already(
    choice: Quantize, encoder: tuple[Source, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    with pytest.raises(Unfit, match="int8_static has one scale for each output channel"):
        catalog.find(choice, "int8_per_channel").convert(encoder[0], Calibration({}), tmp_path)  # type: ignore[attr-defined]


def test_a_model_without_linear_layers_is_refused(choice: Quantize, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=16)).save_pretrained(
        tmp_path / "in"
    )
    (tmp_path / "out").mkdir()
    option = catalog.find(choice, "int8_weights")
    with pytest.raises(Unfit, match=r"only linear layers are, and this model has Conv1D"):
        option.convert(open_source(tmp_path / "in"), Calibration({}), tmp_path / "out")  # type: ignore[attr-defined]
