"""Pooling heads: the mean, lossless where a group's heads are equal, and a cache as small as the formula says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weigh import catalog
from weigh.choice import Unfit, UsageError
from weigh.compress.heads import Calibration, Heads, HeadsTask
from weigh.compress.heads._cache import kv_bytes
from weigh.compress.heads._pooling import pool
from weigh.model import language
from weigh.model.module import load_module, reopened
from weigh.model.source import Source, open_source
from weigh.model.toy import drawn, random_llama, save_llama

CHOICE = Heads()


@pytest.fixture(scope="module")
def many() -> Any:
    """Two layers, four heads of queries and as many of keys and values."""
    torch.set_num_threads(1)
    return random_llama(0, 2, num_key_value_heads=4)


@pytest.fixture(scope="module")
def source(many: Any, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(save_llama(many, tmp_path_factory.mktemp("many")))


@pytest.fixture(scope="module")
def text(many: Any) -> Calibration:
    return Calibration({"input_ids": drawn(many, 0, count=16, length=16)})


def convert(option: str, source: Source, calibration: Calibration, folder: Path) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    return catalog.find(CHOICE, option).convert(source, calibration, folder)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_pooled_head_is_the_mean_of_its_group(many: Any, groups: int):
    small = pool(many, groups)
    for before, after in zip(many.model.layers, small.model.layers, strict=True):
        for name in ("k_proj", "v_proj"):
            heads = getattr(before.self_attn, name).weight.numpy().reshape(groups, 4 // groups, 16, 64)
            mean = heads.astype(np.float64).mean(1).reshape(groups * 16, 64)
            assert np.array_equal(getattr(after.self_attn, name).weight.numpy(), mean.astype(np.float32))
    assert many.config.num_key_value_heads == 4, "the model itself is left as it is"


@pytest.mark.parametrize(("have", "groups"), [(4, 2), (4, 1), (3, 1), (6, 2)])
def test_pooling_loses_nothing_where_the_heads_of_a_group_are_equal(have: int, groups: int):
    torch.set_num_threads(1)
    net = random_llama(1, 2, hidden_size=96, num_attention_heads=have, num_key_value_heads=have, attention_bias=True)
    size = have // groups
    for block in net.model.layers:
        for linear in (block.self_attn.k_proj, block.self_attn.v_proj):
            first = linear.weight.view(groups, size, 16, 96)[:, :1]
            linear.weight.copy_(first.expand(-1, size, -1, -1).reshape(have * 16, 96))
            bias = torch.arange(groups * 16.0).view(groups, 1, 16) / 7
            linear.bias.copy_(bias.expand(-1, size, -1).reshape(-1))
    small = pool(net, groups)
    for before, after in zip(net.model.layers, small.model.layers, strict=True):
        for name in ("k_proj", "v_proj"):
            heads = getattr(before.self_attn, name).weight.view(groups, size, 16, 96)[:, 0]
            assert torch.equal(getattr(after.self_attn, name).weight, heads.reshape(groups * 16, 96))
    ids = torch.arange(3, 40).reshape(1, -1)
    assert torch.allclose(small(ids).logits, net(ids).logits, atol=1e-4, rtol=1e-5)
    assert language.write(small, ids[0].numpy(), 8).tokens == language.write(net, ids[0].numpy(), 8).tokens


@pytest.mark.parametrize(("groups", "dtype"), [(4, "float32"), (2, "float32"), (1, "bfloat16")])
def test_a_token_takes_as_many_bytes_as_the_formula_says(many: Any, groups: int, dtype: str):
    net = pool(many, groups).to(getattr(torch, dtype))
    cache = net(torch.arange(3, 16).reshape(1, -1), use_cache=True).past_key_values
    kept = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert kv_bytes(net) * 13 == kept
    assert kv_bytes(net) == 2 * 2 * groups * 16 * net.dtype.itemsize


@pytest.mark.parametrize("option", ["grouped:steps=3", "grouped:steps=0", "multi_query:steps=3,taught=true"])
def test_what_is_written_is_smaller_and_the_same_again(option: str, source: Source, text: Calibration, tmp_path: Path):
    made, again = (convert(f"{option},batch=4", source, text, tmp_path / name) for name in ("one", "two"))
    files = [sorted(file.name for file in folder.iterdir()) for folder in (made, again)]
    assert files[0] == files[1]
    assert all((made / name).read_bytes() == (again / name).read_bytes() for name in files[0])
    module = load_module(reopened(made, source))
    assert module.config.num_key_value_heads == (1 if "multi" in option else 2)
    assert kv_bytes(module) * 4 // module.config.num_key_value_heads == kv_bytes(load_module(source))


def test_three_heads_can_only_become_one(text: Calibration, tmp_path: Path):
    """As in SmolLM2: nine heads of queries, three of keys and values."""
    net = random_llama(0, 1, hidden_size=72, head_dim=8, num_attention_heads=9, num_key_value_heads=3)
    source = open_source(save_llama(net, tmp_path / "nine"))
    with pytest.raises(
        Unfit, match="3 heads of keys and values cannot be pooled into groups of one size: type multi_q"
    ):
        convert("grouped", source, text, tmp_path)
    with pytest.raises(Unfit, match="cannot be pooled into 2 groups of one size: type multi_query"):
        convert("grouped:groups=2", source, text, tmp_path)
    made = load_module(reopened(convert("multi_query:steps=0", source, text, tmp_path / "made"), source))
    assert made.config.num_key_value_heads == 1
    with pytest.raises(Unfit, match="one head of keys and values already"):
        convert("multi_query", open_source(tmp_path / "made"), text, tmp_path / "again")


def test_groups_that_do_not_divide_are_refused_with_those_that_do(source: Source, text: Calibration, tmp_path: Path):
    for groups in (3, 4, 8):
        with pytest.raises(Unfit, match=rf"4 heads .* into {groups} groups of one size: type groups=2"):
            convert(f"grouped:groups={groups}", source, text, tmp_path)


def test_a_model_whose_keys_are_no_layer_of_their_own_keeps_its_heads(text: Calibration, tmp_path: Path):
    from transformers import GPT2Config, GPT2LMHeadModel

    save_llama(random_llama(0, 1), tmp_path / "gpt2")
    net = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_embd=32, n_layer=1, n_head=2, n_positions=32))
    net.save_pretrained(tmp_path / "gpt2")
    source = open_source(tmp_path / "gpt2")
    with pytest.raises(Unfit, match="GPT2LMHeadModel are not layers called k_proj and v_proj"):
        convert("multi_query", source, text, tmp_path)
    assert kv_bytes(load_module(source)) == 2 * 1 * 2 * 16 * 4, "but it is known how much it keeps"


def test_a_model_that_writes_nothing_is_refused(tmp_path: Path):
    from weigh.compress.quantize._toy import write_toy

    task = write_toy(tmp_path)
    with pytest.raises(UsageError, match="compress/heads takes language models"):
        CHOICE.open(HeadsTask(model=task.model, data=task.data), 0)
    onnx = Source(task.model, "onnx", "classifier", "0")
    with pytest.raises(Unfit, match="heads are pooled in a Hugging Face model, and this one is onnx"):
        convert("multi_query", onnx, Calibration({"X": np.zeros((1, 16), np.float32)}), tmp_path)
