"""GPTQ on layers so small that the best rounding is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from weigh.compress.quantize._hessian import solved
from weigh.compress.quantize._packing import Whole, grid, nearest
from weigh.model.packed import Scheme

FOUR = Scheme(4, 0, symmetric=False)


def layer(seed: int, columns: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight, and correlated inputs."""
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=source)
    return torch.randn(rows, columns, generator=source), torch.randn(200, columns, generator=source) @ mixing


def damage(weight: torch.Tensor, kept: Whole, inputs: torch.Tensor) -> torch.Tensor:
    """Squared change of each output, summed over the inputs: shape (rows,)."""
    return ((inputs @ (kept.weight - weight).T) ** 2).sum(0)


def test_uncorrelated_inputs_are_rounded_to_the_nearest() -> None:
    """Nothing can make up for an error then: the closed form is rounding to the nearest."""
    weight, _ = layer(0, 32)
    made = solved(weight, torch.diag(torch.rand(32) + 0.5), Scheme(4, 16, symmetric=False))
    assert torch.equal(made.numbers, nearest(weight, Scheme(4, 16, symmetric=False)).numbers)


def plainly(weight: torch.Tensor, inputs: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    """The same by least squares: round an input, then solve for what the inputs that are left should be; and so on."""
    steps, each = grid(weight, scheme), scheme.group or weight.shape[1]
    assert steps.zero is not None
    goal, left, x = (weight.double() @ inputs.T.double()).T, weight.double().clone(), inputs.double()
    order = torch.argsort((inputs**2).sum(0), descending=True).tolist()
    numbers = torch.zeros_like(weight)
    for place, column in enumerate(order):
        group, rest = column // each, order[place + 1 :]
        numbers[:, column] = steps.rounded(left[:, column, None].float(), group)[:, 0]
        left[:, column] = (numbers[:, column] - steps.zero[:, group]) * steps.scale[:, group]
        done = order[: place + 1]
        if rest:
            missing = goal - x[:, done] @ left[:, done].T
            left[:, rest] = torch.linalg.lstsq(x[:, rest], missing).solution.T
    return numbers


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_least_squares_give(seed: int) -> None:
    weight, inputs = layer(seed, 32)
    scheme = Scheme(4, 16, symmetric=False)
    made = solved(weight, inputs.T @ inputs, scheme, damping=1e-9)
    assert torch.equal(made.numbers.float(), plainly(weight, inputs, scheme))


@pytest.mark.parametrize("seed", range(4))
def test_the_last_input_is_the_best_of_all_sixteen_numbers(seed: int) -> None:
    weight, inputs = layer(seed, 8)
    made = solved(weight, inputs.T @ inputs, FOUR, damping=1e-9)
    last = int(torch.argmin((inputs**2).sum(0)))
    mine = damage(weight, made, inputs)
    for number in range(-8, 8):
        other = dataclasses.replace(made, numbers=made.numbers.clone())
        other.numbers[:, last] = number
        assert (mine <= damage(weight, other, inputs) * 1.0001).all()


def test_many_layers_lose_less_than_by_rounding_to_the_nearest() -> None:
    scheme, ratios = Scheme(4, 32, symmetric=False), []
    for seed in range(8):
        weight, inputs = layer(seed, 160, rows=24)
        made = solved(weight, inputs.T @ inputs, scheme)
        ratios.append(float(damage(weight, made, inputs).sum() / damage(weight, nearest(weight, scheme), inputs).sum()))
    assert max(ratios) < 0.7


def test_an_input_that_is_always_zero_is_rounded_to_the_nearest() -> None:
    weight, inputs = layer(1, 16)
    inputs[:, 5] = 0
    made = solved(weight, inputs.T @ inputs, FOUR)
    assert torch.equal(made.numbers[:, 5], nearest(weight, FOUR).numbers[:, 5])


def test_order_of_columns_is_kept_over_blocks() -> None:
    """More inputs than one block: a permutation of the inputs permutes the answer."""
    weight, inputs = layer(2, 200)
    hessian = inputs.T @ inputs
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    straight = solved(weight, hessian, FOUR)
    turned = solved(weight[:, order], hessian[order][:, order], FOUR)
    assert (straight.numbers[:, order] == turned.numbers).float().mean() > 0.99


@pytest.mark.slow
def test_smollm2_loses_less_by_it_than_by_rounding_to_the_nearest(tmp_path: Path) -> None:
    """Its first layers in 4 bits, the others as they are: how far what it says is then from what it said."""
    from weigh import catalog
    from weigh.compress.quantize import Calibration
    from weigh.data import manual, smollm2
    from weigh.model.module import load_module, load_tokenizer, save_module
    from weigh.model.source import open_source
    from weigh.model.students import shallower
    from weigh.model.text import prompts

    if not smollm2.installed():
        pytest.skip("the package that brings SmolLM2 is not installed")
    source = open_source(smollm2.path())
    ids = prompts(manual.text(), load_tokenizer(source), 64, 24)
    net, first = load_module(source), tuple(range(4))
    (tmp_path / "first").mkdir()
    short = open_source(save_module(shallower(net, first), source, tmp_path / "first"))

    def said() -> torch.Tensor:
        with torch.inference_mode():
            return net(input_ids=torch.from_numpy(ids[16:].copy()), use_cache=False).logits.log_softmax(-1)

    before, lost = said(), {}
    for spec in ("gptq:windows=16", "int4_weights"):
        (tmp_path / spec[:4]).mkdir()
        option = catalog.find(catalog.choice("compress/quantize"), spec)
        path = option.convert(short, Calibration({"input_ids": ids[:16].copy()}), tmp_path / spec[:4])  # type: ignore[attr-defined]
        made = load_module(open_source(path))
        assert len(made.model.layers) == len(first)
        for place, layer in enumerate(made.model.layers):
            net.model.layers[place] = layer
        lost[spec] = (before.exp() * (before - said())).sum(-1).mean(1)
    apart = 0.8 * lost["int4_weights"] - lost["gptq:windows=16"]
    assert apart.mean() > 3 * apart.std() / len(apart) ** 0.5
    assert lost["gptq:windows=16"].mean() > 0
