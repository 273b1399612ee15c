"""Hugging Face folders that are damaged, or whose weights are not those that their config calls for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_bad_input import refused
from transformers import BertConfig, BertModel

from weigh.model import huggingface
from weigh.model.source import open_source
from weigh.model.toy import write_language_toy


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    return write_language_toy(tmp_path_factory.mktemp("toy"), seed=0).model


@pytest.fixture
def folder(toy: Path, tmp_path: Path) -> Path:
    shutil.copytree(toy, tmp_path / "model")
    return tmp_path / "model"


def rewrite(file: Path, **fields: Any) -> None:
    told = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(told | fields))


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    held = load_file(folder / "model.safetensors")
    change(held)
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})


def opened(folder: Path) -> Any:
    source = open_source(folder)
    return huggingface.load(source.path, source.kind)


def test_weights_that_are_missing_are_not_drawn_at_random(folder: Path):
    opened(folder)
    weights(folder, lambda held: held.pop("model.norm.weight"))
    said = refused(lambda: opened(folder))
    assert "lacks 1 of the weights that its config.json calls for (model.norm.weight): they would be random" in said


@pytest.mark.parametrize(("layers", "said"), [(9, "lacks"), (1, "weights in layers that its config.json does not")])
def test_layers_more_and_fewer_than_the_config_says(folder: Path, layers: int, said: str):
    rewrite(folder / "config.json", num_hidden_layers=layers)
    assert said in refused(lambda: opened(folder))


def test_what_older_folders_keep_or_leave_out(folder: Path, tmp_path: Path):
    weights(folder, lambda held: held.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    opened(folder)
    small = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(small).save_pretrained(tmp_path / "bert")
    weights(tmp_path / "bert", lambda held: [held.pop(name) for name in list(held) if "pooler" in name])
    opened(tmp_path / "bert")
    weights(tmp_path / "bert", lambda held: held.pop("embeddings.LayerNorm.weight"))
    assert "(embeddings.LayerNorm.weight)" in refused(lambda: opened(tmp_path / "bert"))


@pytest.mark.parametrize("said", [{"quant_method": "nope"}, {"bits": 4}, 3, ["awq"]])
def test_weights_quantized_in_a_way_that_nobody_knows(folder: Path, said: Any):
    rewrite(folder / "config.json", quantization_config=said)
    assert "(quantization_config in config.json), which transformers does not know" in refused(lambda: opened(folder))


@pytest.mark.parametrize(
    ("file", "fields", "said"),
    [
        ("config.json", {"architectures": 5}, "has architectures 5, where a list of names belongs"),
        ("config.json", {"architectures": "LlamaForCausalLM"}, "where a list of names belongs"),
        ("config.json", {"vocab_size": "256"}, "has vocab_size '256', which is no whole number"),
        ("config.json", {"num_attention_heads": 0}, "cannot be loaded by transformers: "),
        ("tokenizer.json", {"model": []}, "is no tokenizer that can be read"),
        ("tokenizer.json", {"added_tokens": [{}]}, "is no tokenizer that can be read"),
        ("model.safetensors.index.json", {"weight_map": ["a"]}, "does not say which file of the folder"),
        ("model.safetensors.index.json", {"weight_map": {"a": 3}}, "does not say which file of the folder"),
        ("model.safetensors.index.json", {"weight_map": {"a": "../b"}}, "does not say which file of the folder"),
        ("weigh.json", {"compute": "float99"}, "says compute 'float99'; it is one of float32, float16, bfloat16"),
    ],
)  # fmt: skip
def test_folders_with_a_damaged_file(folder: Path, file: str, fields: dict[str, Any], said: str):
    rewrite(folder / file, **fields)
    assert said in refused(lambda: opened(folder))
