"""A net out of a `torch.export` archive, with its layers as modules again.

An archive knows weights and the operations on them (aten), no layers; pruning by layer and by dependency needs those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node
LAYERS = ("linear", "conv1d", "conv2d", "conv3d")


def lifted(net: GraphModule) -> GraphModule:
    """The same net: linear layers, convolutions and batch norms as modules that hold the same tensors."""
    from torch.fx import GraphModule

    for node in list(net.graph.nodes):
        layer = _layer(net, node)
        if layer is not None:
            name = f"layer_{node.name}"
            net.add_submodule(name, layer)
            with net.graph.inserting_before(node):
                node.replace_all_uses_with(net.graph.call_module(name, (node.args[0],)))
            net.graph.erase_node(node)
        elif node.op == "call_module" and not node.users:  # guards on the shape of the input
            net.graph.erase_node(node)
    net.graph.eliminate_dead_code()
    return GraphModule(net, net.graph).eval()


def layer_weights(net: GraphModule) -> list[Any]:
    """The weights of linear layers and convolutions of an archive that was opened, each once."""
    kinds = {f"aten.{name}.{form}" for name in LAYERS for form in ("default", "padding")}
    nodes = [node for node in net.graph.nodes if node.op == "call_function" and str(node.target) in kinds]
    found = [_tensor(net, node.args[1]) for node in nodes]
    return list({id(one): one for one in found if one is not None}.values())


def _layer(net: GraphModule, node: Node) -> Any:
    """The module that does what a node does, with the node's tensors; None where there is none."""
    import torch

    makers: dict[str, Any] = {
        "linear": _linear, "conv1d": _convolution, "conv2d": _convolution, "conv3d": _convolution, "batch_norm": _norm,
    }  # fmt: skip
    name, _, overload = str(node.target).removeprefix("aten.").partition(".")
    if node.op != "call_function" or name not in makers or overload not in ("default", "padding") or node.kwargs:
        return None
    tensors = [_tensor(net, arg) for arg in node.args[1:5]]
    if tensors[0] is None or (name == "batch_norm" and any(tensor is None for tensor in tensors)):
        return None
    with torch.device("meta"):  # new modules get no memory of their own
        made = makers[name](name, node.args, tensors)
    for kind, tensor in zip(("weight", "bias", "running_mean", "running_var"), tensors):
        if tensor is not None and hasattr(made, kind):
            setattr(made, kind, tensor)
    if hasattr(made, "num_batches_tracked"):
        made.num_batches_tracked = torch.tensor(0)
    return made.eval()


def _linear(name: str, args: Any, tensors: list[Any]) -> Any:
    from torch import nn

    return nn.Linear(tensors[0].shape[1], tensors[0].shape[0], bias=_given(tensors, 1))


def _convolution(name: str, args: Any, tensors: list[Any]) -> Any:
    from torch import nn

    given = list(args[3:])
    stride, padding, dilation, groups = given + [1, 0, 1, 1][len(given) :]
    weight = tensors[0]
    forms: dict[str, Any] = {"conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "conv3d": nn.Conv3d}
    return forms[name](
        weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), stride=_form(stride),
        padding=padding if isinstance(padding, str) else _form(padding), dilation=_form(dilation), groups=groups,
        bias=_given(tensors, 1),
    )  # fmt: skip


def _norm(name: str, args: Any, tensors: list[Any]) -> Any:
    from torch.nn.modules.batchnorm import _BatchNorm

    class Norm(_BatchNorm):
        """A batch norm over any number of dimensions."""

        def _check_input_dim(self, input: Any) -> None:
            """Archives do not say how many there are."""

    return Norm(len(tensors[0]), eps=args[7], momentum=args[6])


def _given(tensors: list[Any], place: int) -> bool:
    return len(tensors) > place and tensors[place] is not None


def _form(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _tensor(net: Any, arg: Any) -> Any:
    """The tensor that an argument of a node names; None where it is left out, or computed."""
    from torch.fx import Node

    if not isinstance(arg, Node) or arg.op != "get_attr":
        return None
    for part in str(arg.target).split("."):
        net = getattr(net, part)
    return net
