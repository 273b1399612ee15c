"""How the layers of a net are shared out over processes: which by columns, which by rows."""

from __future__ import annotations

from typing import Any

from weigh.choice import Unfit
from weigh.model.source import Source

BERT = {
    "*.attention.self.query": "colwise", "*.attention.self.key": "colwise", "*.attention.self.value": "colwise",
    "*.attention.output.dense": "rowwise", "*.intermediate.dense": "colwise", "*.output.dense": "rowwise",
}  # fmt: skip


def styles(config: Any) -> dict[str, str]:
    """Pattern of module names -> "colwise" or "rowwise", as the architecture states them.

    Raises:
        Unfit: nothing says how its layers can be split.
    """
    plan = dict(getattr(config, "base_model_tp_plan", None) or {})
    if plan and set(plan.values()) - {"colwise", "rowwise"}:
        kinds = ", ".join(sorted(set(plan.values()) - {"colwise", "rowwise"}))
        raise Unfit(f"{config.model_type} is split by {kinds}, which weigh does not do: leave this option out")
    if plan:
        return {f"*{name}": kind for name, kind in plan.items()}
    if config.model_type == "bert":
        return BERT
    raise Unfit(
        f"nothing says how a {config.model_type} is split over processes: transformers names no plan for it "
        "(base_model_tp_plan); leave this option out"
    )


def processes_for(source: Source, asked: int) -> int:
    """How many processes share the model: as asked, or the fewest over one that divide its heads.

    Raises:
        Unfit: it is no transformer, or its heads cannot be shared so.
    """
    if source.format != "huggingface":
        raise Unfit(
            f"tensor_parallel splits the layers of a Hugging Face transformer, and this model is {source.format}: give "
            "its folder, or leave this option out"
        )
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source.path, local_files_only=True)
    styles(config)
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    able = [count for count in range(2, groups + 1) if heads % count == 0 and groups % count == 0]
    if not able:
        raise Unfit(f"the model has {heads} heads in {groups} groups, which no number of processes divides")
    if asked and asked not in able:
        raise Unfit(f"{heads} heads in {groups} groups cannot be shared by {asked} processes; type processes={able[0]}")
    return asked or able[0]


def split(net: Any, config: Any, mesh: Any) -> int:
    """Share out the layers of a net over a mesh of processes; how many were.

    Raises:
        Unfit: the plan fits no layer.
    """
    from fnmatch import fnmatch

    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    kinds = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}
    wanted, plan = styles(config), {}
    for name, _ in net.named_modules():
        found = [kind for pattern, kind in wanted.items() if fnmatch(name, pattern)]
        if found:
            plan[name] = kinds[found[0]]()
    if not plan:
        raise Unfit(f"the plan of {config.model_type} fits none of its layers: leave this option out")
    parallelize_module(net, mesh, plan)
    return len(plan)
