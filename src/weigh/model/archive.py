"""Archives of `torch.export` (.pt2), read through before torch loads them: loading can run code, and torch checks none.

Torch unpickles example inputs, constants and some weights, evaluates the sizes and guards that an archive writes as
Python, and calls every function of Python that it names. So an archive is opened only if all of its pickles hold plain
tensors, its expressions are sums of sizes, its names are names, and its operators compute on tensors.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weigh.choice import UsageError
from weigh.model.source import reason

NAME = re.compile(r"[\w\-]*(\.[\w\-]+)*", re.ASCII)
NUMBER = re.compile(r"-?[\d.]+(e[+-]?\d+)?|-?inf|-?Infinity|nan|NaN", re.ASCII)
OPERATOR = re.compile(r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.(\w+)\.(\w+)", re.ASCII)
VISION = re.compile(r"nms|roi_align|roi_pool|ps_roi_align|ps_roi_pool|deform_conv2d")
"""What torchvision computes; its other operators read, write and decode files."""
HIGHER = re.compile(
    r"torch\.ops\.higher_order\.(associative_scan|cond|map_impl|scan|while_loop|wrap_with_autocast"
    r"|wrap_with_set_grad_enabled)"
)
BATCHED = re.compile(
    r"torch\._functorch\.predispatch\."
    r"(_add_batch_dim|_remove_batch_dim|_vmap_increment_nesting|_vmap_decrement_nesting|lazy_load_decompositions)"
)
PLAIN = re.compile(
    r"_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|lshift|rshift|getitem)"
    r"|math\.(trunc|ceil|floor|sqrt)|torch\.(_?sym_(not|int|float|ite|max|min|sqrt|sum))"
)
FILES = ("from_file", "save", "load")
"""Operators of torch that read or write files."""
FUNCTIONS = frozenset((
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Abs", "Max", "Min", "Mod", "And", "Or", "Not", "Eq",
    "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "StrictLessThan", "LessThan", "StrictGreaterThan",
    "GreaterThan", "floor", "ceiling", "sqrt", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv",
    "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv",
    "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat",
    "Identity",
))  # fmt: skip
"""What torch writes sizes with."""
SUMS = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Constant, ast.Name, ast.Load, ast.Call,
    ast.keyword, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd, ast.Not,
    ast.And, ast.Or, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip
SHAPES = ("size", "stride", "storage_offset", "shape")
CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
FREE = ("as_string", "as_strings", "torch_version")
"""Texts that reach Python only as values."""


def load(path: Path) -> Any:
    """The program that an archive holds.

    Raises:
        UsageError: it is damaged, or holds what could run code.
    """
    import torch

    check(path)
    try:
        return torch.export.load(path)
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise UsageError(f"model={path} cannot be loaded by torch.export: {reason(error)}; save it again") from None


def check(path: Path) -> None:
    """Raises `UsageError` when an archive is none, is damaged, or holds what could run code; nothing of it is run."""
    import torch

    if not zipfile.is_zipfile(path):
        raise UsageError(f"model={path} is no torch.export archive: it is cut off or something else; save it again "
                         "with torch.export.save")  # fmt: skip
    try:
        reader = torch._C.PyTorchFileReader(str(path))  # torch's own, so that it cannot be shown other records
        records = reader.get_all_records()
        if "archive_format" not in records or reader.get_record("archive_format") != b"pt2":
            raise ValueError("it does not say that it is one")
        with zipfile.ZipFile(path) as archive:
            if "version" in archive.namelist():
                raise ValueError("it was written by torch 2.7 or earlier")
        _Reading(path, reader, records).check()
    except UsageError:
        raise
    except Exception as error:  # noise parses to errors of many kinds
        raise UsageError(
            f"model={path} is no torch.export archive that can be read ({reason(error)}); save it again with "
            "torch.export.save"
        ) from None


class _Reading:
    """One archive, read record by record as torch would, without running any of it."""

    def __init__(self, path: Path, reader: Any, records: list[str]) -> None:
        self.path, self.reader, self.records = path, reader, records

    def check(self) -> None:
        for record in self.records:
            if record.startswith(("data/aotinductor", "data/executorch", "data/mtia")) or record.endswith(".so"):
                self._refuse(f"compiled code ({record})")
        models = [record for record in self.records if record.startswith("models/")]
        if "models/model.json" not in models:
            raise ValueError("it lacks models/model.json")
        for record in models:
            name = record[len("models/") : -len(".json")]
            self._pickle(f"data/sample_inputs/{name}.pt", needed=True)
            for kind in ("weights", "constants"):
                if f"data/{kind}/{name}.pt" in self.records:
                    self._pickle(f"data/{kind}/{name}.pt")
                else:
                    self._payload(f"data/{kind}/{name}_{kind}_config.json", kind)
            self._program(json.loads(self.reader.get_record(record)))

    def _refuse(self, what: str) -> None:
        raise UsageError(
            f"model={self.path} holds {what[:160]}, which can run any code when it is loaded, and is not opened; "
            "export the net again with torch.export.save, or give its weights (.safetensors) with architecture="
        )

    def _pickle(self, record: str, needed: bool = False) -> None:
        import torch

        content = self.reader.get_record(record) if needed or record in self.records else b""
        if not content:
            return
        try:
            held = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except Exception as error:  # whatever a pickle makes of the loader
            named = re.search(r"(?:GLOBAL|global) `?([\w.]+)", str(error))
            self._refuse(f"a pickle of more than tensors ({record}{f': {named[1]}' if named else ''})")
        self._values(held, record)

    def _values(self, held: Any, record: str) -> None:
        """Example inputs: their names become code."""
        if isinstance(held, dict):
            for name, value in held.items():
                self._name(name, record)
                self._values(value, record)
        elif isinstance(held, (list, tuple)):
            for value in held:
                self._values(value, record)
        elif isinstance(held, str):
            self._name(held, record)

    def _payload(self, record: str, kind: str) -> None:
        for name, one in json.loads(self.reader.get_record(record)).get("config", {}).items():
            self._name(name, record)
            file = one["path_name"]
            if kind == "constants" and not file.startswith("tensor_"):
                self._refuse(f"an object in a pickle (data/{kind}/{file})")
            if one.get("use_pickle"):
                self._refuse(f"a weight in a pickle (data/{kind}/{file})")

    def _program(self, told: dict[str, Any]) -> None:
        guards = told.get("guards_code") or []
        for guard in guards:
            self._expression(guard, guard=True)
        self._walk({key: value for key, value in told.items() if key != "guards_code"})

    def _walk(self, part: Any, key: str = "", strict: bool = False) -> None:
        """Check all that hangs under `key`; `strict`: texts are inputs of the graph, whose values become code."""
        if isinstance(part, dict):
            if key == "metadata" and all(isinstance(value, str) for value in part.values()):
                return
            for name, value in part.items():
                if key == "range_constraints":  # of symbols and of sums of them
                    self._expression(name)
                else:
                    self._name(name, key)
                if name in ("custom_obj", "as_custom_obj") or (name == "custom_obj_values" and value):
                    self._refuse("an object of a class of its own")
                self._walk(value, name, strict or name in ("constant_input", "input_specs"))
        elif isinstance(part, list):
            for value in part:
                self._walk(value, key, strict or (key == "inputs" and isinstance(value, dict) and "arg" not in value))
        elif isinstance(part, str):
            self._text(part, key, strict)
        elif part is not None and key in ("expr_str", "target", "as_operator", "in_spec", "out_spec", "name"):
            raise ValueError(f"{key} is {part!r}")

    def _text(self, text: str, key: str, strict: bool) -> None:
        if key == "expr_str":
            self._expression(text)
        elif key in ("target", "as_operator"):
            self._operator(text)
        elif key in ("in_spec", "out_spec"):
            self._tree(json.loads(text)[1])
        elif key in ("name", "as_name", "forward_arg_names"):
            if text and not (text.isidentifier() and text.isascii()):
                self._refuse(f"the name {text!r}")
        elif key in ("min_val", "max_val") or key.startswith("as_int"):
            raise ValueError(f"{key} is {text!r}")
        elif strict or key not in FREE:
            self._name(text, key)

    def _name(self, text: Any, where: str) -> None:
        if not isinstance(text, str) or not (NAME.fullmatch(text) or NUMBER.fullmatch(text)):
            self._refuse(f"the name {text!r} (in {where})")

    def _operator(self, target: str) -> None:
        if HIGHER.fullmatch(target) or BATCHED.fullmatch(target) or PLAIN.fullmatch(target):
            return
        import torch

        parts = OPERATOR.fullmatch(target)
        if parts is None:
            self._refuse(f"a call of {target}")
            return
        namespace, name, overload = parts.groups()
        found = getattr(getattr(getattr(torch.ops, namespace), name, None), overload, None)
        files = any(word in FILES for word in (name, name.strip("_")))
        kernel = f"{namespace}::{name}" + ("" if overload == "default" else f".{overload}")
        files = files or (namespace == "torchvision" and not VISION.fullmatch(name))
        if files or (found is not None and not isinstance(found, torch._ops.OpOverload)):
            self._refuse(f"a call of {target}")
        if found is None or not torch._C._dispatch_has_kernel(kernel):
            raise ValueError(f"torch {torch.__version__} has no operator {target}")

    def _tree(self, spec: Any) -> None:
        """How inputs and outputs nest: the names in it become code, and some classes import modules."""
        kind, context = spec["type"], spec["context"]
        if kind is not None:
            known = kind in CONTAINERS or (isinstance(kind, str) and kind.startswith("transformers."))
            names = json.loads(context) if isinstance(context, str) else context
            plain = names is None or (isinstance(names, list) and all(isinstance(name, (str, int)) for name in names))
            if not known or not plain:
                self._refuse(f"an input or output of class {kind}")
            for name in names or ():
                self._name(str(name), "in_spec")
        for child in spec["children_spec"]:
            self._tree(child)

    def _expression(self, text: str, guard: bool = False) -> None:
        """Raises `UsageError` unless a size (or a guard on sizes) is a sum of symbols and numbers."""
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._refuse(f"the expression {text!r}")
            return
        if "#" in text or "\n" in text.strip() or not all(_sum(node, guard) for node in _nodes(tree, guard)):
            self._refuse(f"the expression {text!r}")


def _nodes(tree: ast.AST, guard: bool) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if not (guard and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            yield node
        elif node.args or node.keywords or node.func.attr not in SHAPES:
            yield ast.Slice()  # nothing that a sum holds


def _sum(node: ast.AST, guard: bool) -> bool:
    if guard and isinstance(node, ast.Attribute):
        return node.attr in SHAPES
    if guard and isinstance(node, ast.Subscript):
        return True
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (bool, int, float)) or (
            isinstance(node.value, str) and bool(NAME.fullmatch(node.value) or NUMBER.fullmatch(node.value))
        )
    if isinstance(node, ast.Name):
        return not node.id.startswith("__")
    return isinstance(node, SUMS)
