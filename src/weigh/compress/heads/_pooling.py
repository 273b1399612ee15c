"""Heads of keys and values pooled by their mean, and the model trained on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from weigh.choice import Unfit
from weigh.compress.heads import Calibration
from weigh.compress.heads._cache import kv_heads
from weigh.compress.heads._trained import Pooled
from weigh.data import cache_folder
from weigh.model.artefact import key
from weigh.model.distilling import Aim, distil
from weigh.model.module import load_module
from weigh.model.source import Source
from weigh.model.students import blocks_of, save_as_stored
from weigh.model.training import Plan


def need_heads(source: Source) -> Any:
    """The model, where its heads can be pooled.

    Raises:
        Unfit: it is no Hugging Face folder, or its keys and values are not layers of their own.
    """
    if source.format != "huggingface":
        raise Unfit(
            f"heads are pooled in a Hugging Face model, and this one is {source.format}: give the folder that it was "
            "made of"
        )
    net = load_module(source)
    if not hasattr(net.config, "num_key_value_heads") or not all(_attention(block) for block in blocks_of(net)):
        raise Unfit(
            f"the keys and values of {type(net).__name__} are not layers called k_proj and v_proj with heads of their "
            "own number (num_key_value_heads): this model keeps the heads that it has"
        )
    return net


def _attention(block: Any) -> Any:
    """The part of a layer that makes keys and values; None where there is not exactly one."""
    found = [part for part in block.modules() if hasattr(part, "k_proj") and hasattr(part, "v_proj")]
    return found[0] if len(found) == 1 else None


def need_divisor(have: int, want: int) -> None:
    """Raises `Unfit` when so many heads cannot be pooled into so few groups of one size."""
    if want >= have or have % want:
        fitting = [str(n) for n in range(2, have) if have % n == 0]
        instead = f"type groups={' or '.join(fitting)}" if fitting else "type multi_query, which pools them into one"
        instead = "there is nothing to pool: as_trained keeps them" if have == 1 else instead
        raise Unfit(f"{have} heads of keys and values cannot be pooled into {want} groups of one size: {instead}")


def pool(net: Any, groups: int) -> Any:
    """A copy of the model with so many heads of keys and values, each the mean of a group of neighbours.

    Queries keep their number and order: those that shared a head, and those of the heads beside it, share the mean.

    Source: Ainslie et al., GQA (arXiv 2305.13245), section 2.1.
    """
    small = copy.deepcopy(net)
    have = kv_heads(net.config)
    for block in blocks_of(small):
        part = _attention(block)
        for name in ("k_proj", "v_proj"):
            _pool_rows(getattr(part, name), have, groups)
        if hasattr(part, "num_key_value_groups"):
            part.num_key_value_groups = part.num_key_value_groups * have // groups
        if hasattr(part, "num_key_value_heads"):
            part.num_key_value_heads = groups
    small.config.num_key_value_heads = groups
    return small


def _pool_rows(linear: Any, have: int, groups: int) -> None:
    """Average the outputs of a linear layer over the heads of each group, in float64: equal heads stay as they are."""
    import torch

    def mean(values: Any) -> Any:
        heads = values.double().view(groups, have // groups, -1, *values.shape[1:])
        return torch.nn.Parameter(heads.mean(1).flatten(0, 1).to(values.dtype), requires_grad=False)

    linear.weight = mean(linear.weight)
    linear.out_features = linear.weight.shape[0]
    if linear.bias is not None:
        linear.bias = mean(linear.bias)


def regrouped(option: Pooled, source: Source, calibration: Calibration, folder: Path, net: Any, groups: int) -> Path:
    """Pool the heads, train the model on as the option says, and write it."""
    small = pool(net, groups)
    if option.steps:
        plan = Plan(option.steps, option.batch, option.rate, seed=option.seed, numbers=option.numbers)
        aim = Aim(soft=0.5 if option.taught else 0.0, temperature=1.0)
        kept = cache_folder() / "training" / f"{key(option, source, calibration)[7:39]}.pt"
        small = distil(net, small, calibration.tokens, plan, aim, checkpoint=kept).student
    return save_as_stored(small, source, folder)
