"""Archives of torch.export are opened only when nothing in them can run code."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from test_bad_input import refused

from weigh.model import archive
from weigh.model.source import open_source
from weigh.parity.stage import Stage


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


class Nested(torch.nn.Module):
    """A branch, a loop over sizes, a text that says how to sum, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Conv1d(1, 2, 3, padding="same")])
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x: torch.Tensor, others: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            y = torch.nn.functional.gelu(self.layers[0](x), approximate="tanh") + self.shift
        z = self.layers[1](others["first"][:, None])
        torch._check(x.shape[0] + others["first"].shape[0] > 2)
        both = torch.cat([y, z.flatten(1)[:, : x.shape[1]]])
        chosen = torch.cond(both.sum() > 0, lambda v: v.sin(), lambda v: v.cos(), (both,))
        return {"sums": torch.einsum("ij,kj->ik", chosen, y), "half": both[: (both.shape[0] + 1) // 2]}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=({0: rows},))
    torch.export.save(program, tmp_path / "net.pt2")
    return tmp_path / "net.pt2"


def changed(file: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> Path:
    target = file.with_name("changed.pt2")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(target, "w") as new:
        for one in old.infolist():
            new.writestr(one.filename, change(one.filename, old.read(one)))
        for name, content in more.items():
            new.writestr(name, content)
    return target


def test_honest_archives_are_opened(plain: Path):
    assert archive.load(plain).module()(torch.ones(5, 4)).shape == (5, 3)
    assert open_source(plain).inputs[0].shape == (None, 4)
    rows, more = torch.export.Dim("rows", min=2), torch.export.Dim("more", min=2)
    net, example = Nested().eval().requires_grad_(False), (torch.ones(3, 4), {"first": torch.ones(5, 4)})
    program = torch.export.export(net, example, dynamic_shapes=({0: rows}, {"first": {0: more}}))
    torch.export.save(program, plain)
    out = archive.load(plain).module()(torch.ones(4, 4), {"first": torch.ones(7, 4)})
    assert out["sums"].shape == (11, 4)
    assert out["half"].shape == (6, 4)


def test_an_archive_of_twice_any_number_of_rows_and_of_a_function_of_each(plain: Path):
    class Mapped(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.vmap(lambda row: row.sum())(x).masked_fill(x[:, 0] > 0, float("-inf"))

    rows = 2 * torch.export.Dim("half", min=2)
    torch.export.save(torch.export.export(Mapped(), (torch.ones(4, 6),), dynamic_shapes=({0: rows},)), plain)
    assert archive.load(plain).module()(-torch.ones(6, 6)).tolist() == [-6.0] * 6


def test_pickles_in_an_archive(plain: Path, tmp_path: Path):
    mark = tmp_path / "run"
    stream = BytesIO()
    torch.save(((Runs(mark),), {}), stream)
    code = stream.getvalue()
    inputs = changed(plain, lambda name, old: code if "sample_inputs" in name else old)
    said = refused(lambda: open_source(inputs))
    assert "holds a pickle of more than tensors (data/sample_inputs/model.pt" in said
    assert "which can run any code when it is loaded, and is not opened" in said
    assert "holds a pickle" in refused(lambda: Stage(inputs))

    def weight(name: str, old: bytes) -> bytes:
        return code if name.endswith("weight_0") else old.replace(b'"use_pickle": false', b'"use_pickle": true')

    assert "holds a weight in a pickle" in refused(lambda: open_source(changed(plain, weight)))
    held = {"x": {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}}
    constant = json.dumps({"config": held}).encode()
    opaque = changed(
        plain, lambda name, old: constant if "model_constants" in name else old,
        **{"net/data/constants/opaque_obj_0": pickle.dumps(Runs(mark))},
    )  # fmt: skip
    assert "holds an object in a pickle (data/constants/opaque_obj_0)" in refused(lambda: open_source(opaque))
    old = changed(plain, lambda _, content: content, **{"net/data/weights/model.pt": code})
    assert "(data/weights/model.pt" in refused(lambda: open_source(old))
    compiled = changed(plain, lambda _, content: content, **{"net/data/aotinductor/model/a.so": b"x"})
    assert "holds compiled code (data/aotinductor/model/a.so)" in refused(lambda: open_source(compiled))
    assert not mark.exists()


EVIL = "__import__('os').system('touch run')"
DOTTED = "a.__class__.__base__.__subclasses__()"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"expr_str": "Symbol(', f'"expr_str": "{EVIL} or Symbol(', "holds the expression"),
        ('"expr_str": "Symbol(', f'"expr_str": "{DOTTED} + Symbol(', "holds the expression"),
        ('"expr_str": "Symbol(', '"expr_str": "Max(\'exit()\') + Symbol(', "holds the expression"),
        ('"guards_code": []', f'"guards_code": ["{EVIL}"]', "holds the expression"),
        ('"guards_code": []', '"guards_code": ["L[\'x\'].size(exit())"]', "holds the expression"),
        ('"torch.ops.aten.relu.default"', '"torch.os.system"', "holds a call of torch.os.system"),
        ('"torch.ops.aten.relu.default"', '"torch.ops.load_library"', "holds a call of torch.ops.load_library"),
        ('"torch.ops.aten.relu.default"', '"torch.ops.aten.from_file.default"', "holds a call of torch.ops.aten.from"),
        ('"torch.ops.aten.relu.default"', '"torch.ops.torchvision.write_file.default"', "a call of torch.ops.torchvis"),
        ('"torch.ops.aten.relu.default"', '"torch.ops.higher_order.call_torchbind"', "a call of torch.ops.higher"),
        ('"torch.ops.aten.relu.default"', '"_operator.attrgetter"', "holds a call of _operator.attrgetter"),
        ('"relu"', f'"relu = {EVIL}; relu"', "holds the name"),
        ('"forward_arg_names": ["input"]', f'"forward_arg_names": ["input={EVIL}"]', "holds the name"),
        ('{"as_tensor": {"name": "input"}}', '{"as_string": "\' or exit() or \'"}', "holds the name"),
        ('"0.weight"', "\"0.x') + exit() + str('\"", "holds the name"),
        ('builtins.dict\\", \\"context\\": \\"[]', 'collections.defaultdict\\", \\"context\\": \\"[]', "of class coll"),
        ('\\"context\\": \\"[]\\"', '\\"context\\": \\"{}\\"', "of class builtins.dict"),
    ],
)  # fmt: skip
def test_code_in_the_graph_of_an_archive(plain: Path, monkeypatch, old: str, new: str, said: str):
    monkeypatch.chdir(plain.parent)

    def change(name: str, content: bytes) -> bytes:
        assert "model.json" not in name or old.encode() in content
        return content.replace(old.encode(), new.encode()) if name.endswith("models/model.json") else content

    assert said in refused(lambda: open_source(changed(plain, change)))
    assert not Path("run").exists()


@pytest.mark.parametrize("text", [
    "Symbol('s31', positive=True, integer=True)", "Mul(Integer(2), Symbol('s0', integer=True))", "s0 + 2*s1",
    "FloorDiv(Add(Symbol('u0'), Integer(-1)), Integer(2))", "Max(1, s0)", "Eq(Mod(s0, 8), 0)", "-s0**2 >= 3",
    "Float('0.5', precision=53)",
])  # fmt: skip
def test_sizes_that_torch_writes(text: str):
    archive._Reading(Path("net.pt2"), None, [])._expression(text)
