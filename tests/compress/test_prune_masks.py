"""Which weights go: masks against plain numpy, groups of four, sizes that do not change, sparsity as counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weigh import catalog
from weigh.choice import Unfit
from weigh.compress.prune._count import counted, zeros
from weigh.compress.prune._masks import energy, least_of_groups
from weigh.model.artefact import artefact
from weigh.model.layers import layers, matrix, shaped
from weigh.model.module import load_module, reopened
from weigh.model.source import Source, open_source
from weigh.model.task import Calibration
from weigh.model.toy import random_llama, save_llama
from weigh.model.walk import walk

torch = pytest.importorskip("torch")

CHOICE = catalog.choice("compress/prune")
TOKENS = np.random.default_rng(0).integers(3, 256, (12, 16))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(save_llama(random_llama(layers=2), tmp_path_factory.mktemp("llama")))


def made(source: Source, spec: str) -> Any:
    """What an option makes of the model, read from disk again; and its artefact."""
    option = catalog.find(CHOICE, spec)
    found = artefact(option, source, Calibration({"input_ids": TOKENS.copy()}))  # type: ignore[arg-type]
    return load_module(reopened(found.path, source)), found


def by_hand(source: Source, share: float) -> dict[str, np.ndarray]:
    """The masks of Wanda, in numpy: each block is given what the pruned blocks before it say."""
    net, masks = load_module(source), {}
    inputs: dict[str, list[np.ndarray]] = {}
    for place in range(net.config.num_hidden_layers):
        inner = {f"model.layers.{place}.{name}": layer for name, layer in layers(net.model.layers[place]).items()}
        hooks = [
            layer.register_forward_hook(lambda _, a, __, name=name: inputs.setdefault(name, []).append(a[0].numpy()))
            for name, layer in inner.items()
        ]
        net(input_ids=torch.from_numpy(TOKENS), use_cache=False)
        for hook in hooks:
            hook.remove()
        for name, layer in inner.items():
            seen = np.concatenate(inputs[name]).reshape(-1, layer.in_features)
            scores = np.abs(layer.weight.numpy()) * np.linalg.norm(seen, axis=0)
            masks[name] = np.zeros(scores.shape, bool)
            for row, least in enumerate(np.argsort(scores, axis=1)[:, : int(scores.shape[1] * share)]):
                masks[name][row, least] = True
            layer.weight[torch.from_numpy(masks[name])] = 0.0
    return masks


def test_wanda_is_what_the_paper_says(source: Source) -> None:
    net, _ = made(source, "wanda:share=0.5")
    wanted = by_hand(source, 0.5)
    parts = layers(net)
    assert parts.keys() == wanted.keys() and len(parts) == 14
    before = layers(load_module(source))
    for name, layer in parts.items():
        np.testing.assert_array_equal(layer.weight.numpy() == 0, wanted[name], name)
        stays = ~torch.from_numpy(wanted[name])
        assert torch.equal(layer.weight[stays], before[name].weight[stays])


@pytest.mark.parametrize("spec", ["n_m", "n_m:score=magnitude", "n_m:kept=1,of=4"])
def test_every_group_of_four_keeps_two(source: Source, spec: str) -> None:
    net, _ = made(source, spec)
    kept = 1 if "kept" in spec else 2
    for layer in layers(net).values():
        assert ((matrix(layer.weight).reshape(-1, 4) != 0).sum(1) == kept).all()
    assert zeros(net) == 1 - kept / 4


def test_the_greatest_of_a_group_stay() -> None:
    scores = torch.tensor([[4.0, 1.0, 3.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
    assert least_of_groups(scores, 2, 4).tolist() == [[False, True, False, True, False, False, True, True]]
    weight = torch.arange(2 * 4 * 3 * 3).reshape(2, 4, 3, 3)
    assert matrix(weight)[0, :4].tolist() == [0, 9, 18, 27], "groups lie along the input channels"
    assert torch.equal(shaped(matrix(weight), weight), weight)


@pytest.mark.parametrize("spec", ["magnitude:share=0.3", "magnitude:share=0.3,scope=net"])
def test_the_least_weights_go(source: Source, spec: str) -> None:
    net, _ = made(source, spec)
    before = {name: layer.weight.numpy() for name, layer in layers(load_module(source)).items()}
    border = _border(np.concatenate([one.ravel() for one in before.values()]), 0.3)
    for name, layer in layers(net).items():
        limit = border if "net" in spec else _border(before[name], 0.3)
        np.testing.assert_array_equal(layer.weight.numpy() == 0, np.abs(before[name]) < limit, name)
    assert zeros(net) == pytest.approx(0.3, abs=1e-3)


def _border(weights: np.ndarray, share: float) -> float:
    """The least absolute value that stays."""
    return float(np.sort(np.abs(weights).ravel())[int(weights.size * share)])


@pytest.mark.parametrize("spec", ["magnitude", "wanda", "sparsegpt", "n_m"])
def test_zeros_make_no_file_smaller(source: Source, spec: str) -> None:
    net, found = made(source, spec)
    (weights,) = source.path.glob("*.safetensors")
    assert found.megabytes == weights.stat().st_size / 1e6
    assert counted(net, found) == {"sparsity": 0.5, "parameters": counted(load_module(source), found)["parameters"]}


def test_the_head_and_the_embedding_are_left_alone(source: Source) -> None:
    net, before = made(source, "magnitude")[0], load_module(source)
    assert torch.equal(net.lm_head.weight, before.lm_head.weight)
    assert torch.equal(net.model.embed_tokens.weight, before.model.embed_tokens.weight)


def test_bfloat16_folders_stay_as_they_were_but_for_the_zeros(source: Source, tmp_path: Path) -> None:
    half = open_source(save_llama(random_llama(layers=1).to(torch.bfloat16), tmp_path / "half"))
    net, found = made(half, "magnitude:share=0.5")
    before = load_module(half)
    assert found.megabytes * 1e6 == next(half.path.glob("*.safetensors")).stat().st_size
    for name, layer in layers(net).items():
        stays = layer.weight != 0
        assert layer.weight.dtype == torch.float32, "computed as the original is"
        assert torch.equal(layer.weight[stays], layers(before)[name].weight[stays])


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Linear(6, 4),
        torch.nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
        torch.nn.Conv2d(3, 5, (3, 2), padding="same", dilation=2),
    ],
    ids=["linear", "conv1d", "conv2d"],
)
def test_the_energy_of_a_weight_is_that_of_what_it_multiplies(layer: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = {"Linear": (7, 6), "Conv1d": (7, 4, 9), "Conv2d": (7, 3, 8, 8)}[type(layer).__name__]
    inputs = torch.randn(shape, generator=generator)
    found = energy(layer.requires_grad_(False), inputs).expand_as(layer.weight)
    for place in [(0, 0), (3, 1)]:
        where = (*place, *(1 for _ in range(layer.weight.dim() - 2)))
        layer.weight.zero_()
        layer.weight[where] = 1.0
        layer.bias.zero_()
        assert layer(inputs).square().sum().item() == pytest.approx(found[where].item(), rel=1e-4)


def test_sparsegpt_keeps_outputs_nearer_than_zeros_alone(source: Source) -> None:
    """What stays is moved, so that on the calibration rows the first layers say nearly what they said."""
    moved, plain, dense = (
        load_module(source) if spec == "" else made(source, spec)[0] for spec in ("sparsegpt", "magnitude", "")
    )
    caught: list[Any] = []
    layer = dense.model.layers[0].self_attn.q_proj
    layer.register_forward_pre_hook(lambda _, args: caught.append(args[0].clone()))
    dense(input_ids=torch.from_numpy(TOKENS), use_cache=False)
    right = layer(caught[0])
    losses = [float((one.model.layers[0].self_attn.q_proj(caught[0]) - right).square().sum()) for one in (moved, plain)]
    assert losses[0] < 0.95 * losses[1], losses
    assert zeros(moved) == 0.5


def test_padding_is_not_looked_at() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    net = BertModel(
        BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    )
    net.eval().requires_grad_(False)
    ids, mask = TOKENS[:4] % 64, np.ones((4, 16), np.int64)
    mask[:, 9:] = 0
    other = np.where(mask == 1, ids, (ids + 7) % 64)
    sums = []
    for tokens in (ids, other):
        feeds = {"input_ids": tokens.copy(), "attention_mask": mask.copy()}
        steps = walk(net, Calibration(feeds), energy)
        sums.append(torch.cat([seen for found in steps for seen in found.values()]))
    torch.testing.assert_close(sums[0], sums[1])


def test_what_cannot_be_pruned_says_why(source: Source, tmp_path: Path) -> None:
    from weigh.choice import UsageError

    with pytest.raises(UsageError, match="kept=4 of 4 leaves nothing out"):
        catalog.find(CHOICE, "n_m:kept=4,of=4")
    with pytest.raises(Unfit, match="fall into groups of 7"):
        made(source, "n_m:kept=1,of=7")
    quantized = tmp_path / "quantized"
    quantized.mkdir()
    for file in source.path.iterdir():
        (quantized / file.name).write_bytes(file.read_bytes())
    config = (quantized / "config.json").read_text()
    (quantized / "config.json").write_text(config[:-2] + ', "quantization_config": {"quant_method": "torchao"}}')
    with pytest.raises(Unfit, match="prune first, then quantize"):
        made(open_source(quantized), "magnitude")
