"""Stages of other formats: GGUF, torch.export, ONNX, nets of rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_llama import edit, encoder, stage

from benchmarks.parity import build, gguf_writer
from weigh.choice import UsageError
from weigh.parity import Asked, Certificate, Chain, Stage, certify_chain, hop, told
from weigh.parity.gguf_stage import permuted, unpermuted

ASKED = Asked(prompts=4, new_tokens=4)


def certificate(before: Path, after: Path, kind: str, asked: Asked = ASKED) -> Certificate:
    return certify_chain([before, after], [hop(kind)], asked).certificates[0]


def test_rotary_rows_go_there_and_back():
    rows = torch.arange(48.0).reshape(16, 3)
    assert torch.equal(unpermuted(permuted(rows, 2), 2), rows)
    assert torch.equal(permuted(rows, 2), torch.from_numpy(gguf_writer.interleaved(rows.numpy(), 2)))


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0"])
def test_a_gguf_is_right_in_every_type(base: Path, tmp_path: Path, kind: str):
    one = certificate(base, build.gguf(base, tmp_path / "model.gguf", kind, embedding="F16"), "gguf")
    assert one.ok, one.findings
    assert one.facts["tokenizer.merges"][0] == one.facts["tokenizer.merges"][1]
    assert one.facts["template.rendered"][0] == one.facts["template.rendered"][1]


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ({"eps": 1e-3}, "architecture.rms_norm_eps"),
        ({"add_bos": True}, "tokenizer.add_bos"),
        ({"eos": 0}, "special.eos_token_id"),
        ({"template": "{{ messages[0]['content'] }}"}, "template.text"),
        ({"context": 64}, "rope.max_position_embeddings"),
        ({"permute": False}, "model.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_a_wrong_gguf_is_found(base: Path, tmp_path: Path, how: dict[str, object], where: str):
    made = build.gguf(base, tmp_path / "model.gguf", "Q8_0", **how)
    assert where in [finding.where for finding in certificate(base, made, "gguf").findings]


def test_rope_scaling_is_kept_by_a_gguf_and_seen_where_it_is_lost(base: Path, tmp_path: Path):
    stretched = stage(base, tmp_path / "stretched")
    rope = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
    edit(stretched / "config.json", rope_parameters=rope)
    kept = build.gguf(stretched, tmp_path / "kept.gguf", "F32")
    assert certificate(stretched, kept, "gguf").ok
    lost = build.gguf(base, tmp_path / "lost.gguf", "F32")
    one = certificate(stretched, lost, "gguf")
    assert {finding.topic for finding in one.findings} == {"rope", "behaviour"}


def test_fewer_bits_than_were_meant_are_found(base: Path, tmp_path: Path):
    made = build.gguf(base, tmp_path / "model.gguf", "Q8_0", embedding="Q4_0")
    assert certificate(base, made, "gguf").ok
    found = certificate(base, made, "gguf:bits=8").findings
    assert found[0].what == "model.embed_tokens.weight is kept in 4 bits, and the hop was meant to keep 8"


def test_a_gguf_that_is_cut_off_is_blamed_on_its_hop(base: Path, tmp_path: Path):
    made = build.gguf(base, tmp_path / "model.gguf", "Q8_0")
    made.write_bytes(made.read_bytes()[:5000])
    chain = certify_chain([base, made], [hop("gguf")], ASKED)
    assert chain.blamed == 1 and "no whole GGUF" in chain.certificates[0].findings[0].what
    with pytest.raises(UsageError, match="no whole GGUF"):
        Stage(made)


class _Logits(torch.nn.Module):
    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.module(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def exported(folder: Path, target: Path) -> Path:
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    example = torch.ones(2, 8, dtype=torch.int64)
    shape = {0: torch.export.Dim("rows", min=1, max=64), 1: torch.export.Dim("tokens", min=1, max=256)}
    program = torch.export.export(_Logits(module).eval(), (example, example.clone()), dynamic_shapes=(shape, shape))
    torch.export.save(program, target)
    return target


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_exported_archive_answers_as_its_module(base: Path, tmp_path: Path):
    made = exported(base, tmp_path / "model.pt2")
    good = certificate(base, made, "export")
    assert good.ok and good.behaviour and good.behaviour.gap_max < 1e-4
    other = stage(base, tmp_path / "other")
    edit(other / "config.json", hidden_act="gelu")
    bad = certificate(other, made, "export")
    assert not bad.ok and "layers are not visible in a .pt2" in bad.notes[-1]


NET = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
"""


def net(folder: Path, name: str, change: float = 0.0) -> Path:
    scope: dict[str, object] = {}
    exec(NET, scope)
    module = scope["build"]()  # type: ignore[operator]
    weights = {key: value.detach().clone() for key, value in module.state_dict().items()}
    weights["2.bias"] += torch.tensor([change, 0.0, 0.0])
    save_file(weights, folder / name)
    return folder / name


def test_labels_of_rows_are_compared(tmp_path: Path):
    (tmp_path / "net.py").write_text(NET)
    np.savez(tmp_path / "rows.npz", X=np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32))
    asked = Asked(rows=tmp_path / "rows.npz", architecture=f"{tmp_path / 'net.py'}:build")
    one, same, other = (net(tmp_path, f"{at}.safetensors", change) for at, change in enumerate((0.0, 0.0, 1.0)))
    good = certificate(one, same, "copy", asked)
    assert good.ok and good.behaviour and good.behaviour.unit == "row" and good.behaviour.identical == 200
    bad = certificate(one, other, "copy", asked)
    assert bad.behaviour and bad.behaviour.identical < 200 and bad.behaviour.divergence
    assert {finding.topic for finding in bad.findings} == {"weights", "behaviour"}
    assert (bad.behaviour.answer, bad.findings[-1].where) == ("label", "labels")
    assert bad.findings[-1].what.endswith(f"is {bad.behaviour.divergence.after.id}")
    assert not words(bad) & {"prompt", "token", "tokens", "greedy", "layer", "below"}
    with pytest.raises(UsageError, match="--rows"):
        certificate(one, same, "copy", Asked(architecture=asked.architecture))


def words(one: Certificate) -> set[str]:
    """Every word that is printed of a certificate, its rule apart."""
    chain = Chain(stages=(one.before, one.after), certificates=(one,), blamed=1)
    lines = [*told.sections(chain)[0][1], ("", told.answer(chain))]
    return {word.strip(".,;:()") for label, text in lines for word in f"{label} {text}".split() if label != "rule"}


def test_texts_of_an_encoder_are_told_as_texts(base: Path, tmp_path: Path):
    model = encoder(base, tmp_path / "model")

    def turned(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = "encoder.layer.0.output.dense.weight"
        return {**weights, name: -weights[name]}

    bad = certificate(model, stage(model, tmp_path / "turned", turned), "copy")
    assert bad.behaviour and (bad.behaviour.unit, bad.behaviour.answer) == ("row", "nearest text")
    assert bad.findings[-1].where == "nearest texts" and "nearest was text" in bad.findings[-1].what
    assert not words(bad) & {"prompt", "token", "tokens", "greedy", "below", "label"}


def test_the_hint_names_the_layer_only_where_one_is_known(base: Path, tmp_path: Path):
    def turned(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = "model.layers.1.mlp.down_proj.weight"
        return {**weights, name: -weights[name]}

    bad = certificate(base, stage(base, tmp_path / "turned", turned), "copy")
    hints = [finding.do for finding in bad.findings if finding.where == "log-probabilities"]
    assert hints and hints[0].startswith("look at layer 1, the first that differs; state another limit")


def test_models_of_different_kinds_are_refused(base: Path, tmp_path: Path):
    (tmp_path / "net.py").write_text(NET)
    asked = Asked(architecture=f"{tmp_path / 'net.py'}:build")
    with pytest.raises(UsageError, match="no stages of one model"):
        certify_chain([net(tmp_path, "a.safetensors"), base], [hop("copy")], asked)


def test_a_vocabulary_that_shrank_is_said_plainly(base: Path, tmp_path: Path):
    after = stage(base, tmp_path / "after")
    size = json.loads((after / "config.json").read_text())["vocab_size"] + 8
    weights = load_file(after / "model.safetensors")
    table = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = torch.cat([table, torch.zeros(8, table.shape[1])])
    save_file(weights, after / "model.safetensors", metadata={"format": "pt"})
    edit(after / "config.json", vocab_size=size)
    found = [finding.what for finding in certificate(base, after, "copy").findings]
    assert f"vocab size was {size - 8}, is {size}" in found
    assert any("had the shape" in what for what in found)
