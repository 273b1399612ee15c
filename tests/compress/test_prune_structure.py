"""What is cut off: the smaller net says what the dense one says with those parts out; its size is known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weigh import catalog
from weigh.choice import Unfit
from weigh.compress.prune._blocks import influence, least_loss
from weigh.compress.prune._count import counted
from weigh.model import language
from weigh.model.artefact import artefact
from weigh.model.layers import layers
from weigh.model.module import load_module, reopened
from weigh.model.source import Port, Source, open_source
from weigh.model.task import Calibration
from weigh.model.toy import random_llama, save_llama

torch = pytest.importorskip("torch")

CHOICE = catalog.choice("compress/prune")
TOKENS = np.random.default_rng(0).integers(3, 256, (12, 16))
PICTURES = np.random.default_rng(1).normal(size=(20, 3, 12, 12)).astype(np.float32)
NET = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(96, 5),
    )
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(save_llama(random_llama(layers=4), tmp_path_factory.mktemp("llama")))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A convolutional net of random weights, its norms as after training."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("net")
    (folder / "net.py").write_text(NET)
    space: dict[str, Any] = {}
    exec(NET, space)
    torch.manual_seed(0)
    net = space["build"]()
    net[1].running_mean.normal_(0, 0.3)
    net[1].running_var.uniform_(0.5, 2)
    net[1].weight.data.uniform_(0.5, 2)
    save_file(net.state_dict(), folder / "net.safetensors")
    plain = open_source(folder / "net.safetensors", f"{folder / 'net.py'}:build")
    return replace(plain, inputs=(Port("X", "tensor(float)", (None, 3, 12, 12)),))


def made(source: Source, spec: str) -> Any:
    """What an option makes of the model, read from disk again; and its artefact."""
    feeds = {"X": PICTURES.copy()} if source.format in ("module", "exported") else {"input_ids": TOKENS.copy()}
    found = artefact(catalog.find(CHOICE, spec), source, Calibration(feeds))  # type: ignore[arg-type]
    return load_module(reopened(found.path, source)), found


def test_the_last_block_dropped_is_the_first_blocks_run(source: Source) -> None:
    from weigh.compress.prune._blocks import without

    net, dense = load_module(source), load_module(source)
    without(net, [3])
    ids = torch.from_numpy(TOKENS)
    states = dense.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
    torch.testing.assert_close(net(input_ids=ids).logits, dense.lm_head(dense.model.norm(states[3])))
    assert net.config.num_hidden_layers == 3


@pytest.mark.parametrize("by", ["cosine", "loss"])
def test_dropped_blocks_are_gone_on_disk_and_writing_goes_on(source: Source, by: str) -> None:
    net, found = made(source, f"depth:share=0.5,by={by}")
    config = json.loads((found.path / "config.json").read_text())
    assert config["num_hidden_layers"] == len(net.model.layers) == 2
    assert found.megabytes < 0.75 * artefact(catalog.find(CHOICE, "none"), source, Calibration({})).megabytes  # type: ignore[arg-type]
    written = language.write(net, TOKENS[0], 6).tokens
    ids = torch.from_numpy(TOKENS[:1])
    for token in written:
        assert int(net(input_ids=ids, use_cache=False).logits[0, -1].argmax()) == token, "caches are numbered anew"
        ids = torch.cat([ids, torch.tensor([[token]])], 1)


def test_blocks_are_scored_as_the_papers_say(source: Source) -> None:
    net = load_module(source)
    ids = torch.from_numpy(TOKENS)
    with torch.no_grad():
        states: list[Any] = []
        hook = net.model.norm.register_forward_pre_hook(lambda _, args: states.append(args[0]))
        out = net.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
        hook.remove()
    states = [*out[:-1], states[0]]  # the last of them is normed
    wanted = [1 - float(torch.cosine_similarity(a, b, dim=-1).mean()) for a, b in pairwise(states)]
    found = influence(net, Calibration({"input_ids": TOKENS.copy()}))
    assert found == pytest.approx(wanted, rel=1e-4)
    losses = []
    for place in range(4):
        shorter = load_module(source)
        del shorter.model.layers[place]
        shorter.config.num_hidden_layers = 3
        losses.append(-language.read(shorter, TOKENS).loglik.mean())
    assert least_loss(net, TOKENS, 2) == np.argsort(losses)[:2].tolist()


def test_a_narrow_mlp_is_the_dense_one_with_neurons_out(source: Source) -> None:
    net, found = made(source, "structured:share=0.25")
    dense = load_module(source)
    for small, block in zip(net.model.layers, dense.model.layers):
        rows = block.mlp.gate_proj.weight
        kept = [int((rows == row).all(1).nonzero()) for row in small.mlp.gate_proj.weight]
        gone = sorted(set(range(128)) - set(kept))
        assert kept == sorted(kept) and len(gone) == 32
        block.mlp.down_proj.weight[:, gone] = 0.0
    ids = torch.from_numpy(TOKENS)
    torch.testing.assert_close(net(input_ids=ids).logits, dense(input_ids=ids).logits)
    config = json.loads((found.path / "config.json").read_text())
    assert config["intermediate_size"] == 96
    assert counted(net, found)["parameters"] * 1e6 == 143_808 + 36_992 - 4 * 3 * 64 * 32  # of 4 blocks


def test_groups_of_heads_are_kept_whole(source: Source) -> None:
    net, found = made(source, "structured:share=0,heads=0.5,score=magnitude")
    dense = load_module(source)
    for small, block in zip(net.model.layers, dense.model.layers):
        keys = block.self_attn.k_proj.weight
        first = bool((small.self_attn.k_proj.weight == keys[:16]).all())
        assert first or (small.self_attn.k_proj.weight == keys[16:]).all()
        gone = slice(32, 64) if first else slice(0, 32)  # two query heads share a key head
        block.self_attn.o_proj.weight[:, gone] = 0.0
    ids = torch.from_numpy(TOKENS)
    torch.testing.assert_close(net(input_ids=ids).logits, dense(input_ids=ids).logits)
    config = json.loads((found.path / "config.json").read_text())
    assert [config[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")] == [2, 1, 16]
    with pytest.raises(Unfit, match="share one key-value head"):
        made(reopened(found.path, source), "structured:heads=0.5")


def test_the_dependency_graph_names_the_layers_that_are_cut_together(source: Source) -> None:
    tp = pytest.importorskip("torch_pruning")
    net = load_module(source).requires_grad_(True)
    ids = torch.from_numpy(TOKENS[:1])
    graph = tp.DependencyGraph().build_dependency(
        net, {"input_ids": ids, "use_cache": False}, forward_fn=lambda net, feed: net(**feed).logits, verbose=False
    )
    mlp = net.model.layers[1].mlp
    group = graph.get_pruning_group(mlp.gate_proj, tp.prune_linear_out_channels, idxs=[5])
    touched = {id(item.dep.target.module) for item in group} & {id(layer) for layer in layers(net).values()}
    assert touched == {id(mlp.gate_proj), id(mlp.up_proj), id(mlp.down_proj)}


def test_channels_cut_are_those_that_zeros_leave_out(pictures: Source) -> None:
    net, found = made(pictures, "structured:share=0.5")
    small = layers(net_of(found.path))
    dense = load_module(pictures)
    first, norm, second, last = dense[0], dense[1], dense[4], dense[8]
    one, two, three = small.values()
    kept = [int((first.weight == row).flatten(1).all(1).nonzero()) for row in one.weight]
    gone = sorted(set(range(16)) - set(kept))
    kept_two = [int((second.bias == value).nonzero()) for value in two.bias]
    assert len(kept) == 8 and len(kept_two) == 16 and three.weight.shape == (5, 64)
    for tensor in (first.weight, first.bias, norm.weight, norm.bias):
        tensor[gone] = 0.0
    gone = sorted(set(range(24)) - set(kept_two))
    second.weight[gone], second.bias[gone] = 0.0, 0.0
    rows = torch.from_numpy(PICTURES)
    torch.testing.assert_close(net(rows), dense(rows))
    assert last.weight.shape == (5, 96)
    assert counted(net, found)["parameters"] * 1e6 == 8 * 28 + 2 * 8 + 16 * (8 * 9 + 1) + 5 * 65


RESIDUAL = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.inner = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        return self.head((x + self.inner(x)).relu().mean((2, 3)))

def build():
    return Net()
"""


def test_what_is_added_up_is_cut_together(tmp_path: Path) -> None:
    """A residual net: the stem, the end of its branch and the head lose the same channels."""
    from safetensors.torch import save_file

    (tmp_path / "net.py").write_text(RESIDUAL)
    space: dict[str, Any] = {}
    exec(RESIDUAL, space)
    torch.manual_seed(1)
    save_file(space["build"]().state_dict(), tmp_path / "net.safetensors")
    plain = open_source(tmp_path / "net.safetensors", f"{tmp_path / 'net.py'}:build")
    source = replace(plain, inputs=(Port("X", "tensor(float)", (None, 3, 12, 12)),))
    net, found = made(source, "structured:share=0.5")
    stem, one, two, head = layers(net_of(found.path)).values()
    assert [len(layer.weight) for layer in (stem, one, two, head)] == [8, 16, 8, 5]
    dense = load_module(source)
    gone = sorted(set(range(16)) - {int((dense.stem.bias == value).nonzero()) for value in stem.bias})
    inner = sorted(set(range(32)) - {int((dense.inner[0].bias == value).nonzero()) for value in one.bias})
    assert torch.equal(two.bias, dense.inner[2].bias[[place for place in range(16) if place not in gone]])
    for layer, places in ((dense.stem, gone), (dense.inner[0], inner), (dense.inner[2], gone)):
        layer.weight[places], layer.bias[places] = 0.0, 0.0
    rows = torch.from_numpy(PICTURES)
    torch.testing.assert_close(net(rows), dense(rows))


def net_of(path: Path) -> Any:
    from weigh.compress.prune._lifted import lifted

    return lifted(torch.export.load(path).module())


@pytest.mark.parametrize("spec", ["magnitude", "wanda", "sparsegpt", "n_m:of=8,kept=4", "structured:share=0.5"])
def test_an_archive_is_pruned_as_the_code_is(pictures: Source, spec: str) -> None:
    """The same net as weights with code and as a .pt2 archive: the same answers of what comes out."""
    archive = reopened(made(pictures, "none")[1].path, pictures)
    assert archive.format == "exported"
    rows = torch.from_numpy(PICTURES)
    torch.testing.assert_close(made(archive, spec)[0](rows), made(pictures, spec)[0](rows))


def test_pruned_archives_are_as_large_as_the_whole_one(pictures: Source) -> None:
    whole, zeroed, cut = (made(pictures, spec)[1] for spec in ("none", "magnitude", "structured:share=0.5"))
    assert zeroed.megabytes == whole.megabytes > 1.2 * cut.megabytes


def test_convolutional_nets_have_no_blocks_and_no_heads(pictures: Source) -> None:
    with pytest.raises(Unfit, match=r"needs a transformer.*structured prunes such nets"):
        made(pictures, "depth")
    with pytest.raises(Unfit, match="cuts heads of transformers"):
        made(pictures, "structured:heads=0.5")
    with pytest.raises(Unfit, match="share=0 cuts nothing"):
        made(pictures, "structured:share=0")
