"""Every kind of fault on one hop is found, named, and put into its layer; what is right raises no alarm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_llama import adapter, edit, merged, stage

from weigh.parity import Asked, Certificate, certify_chain, hop

ASKED = Asked(prompts=4, new_tokens=4)


def certificate(before: Path, after: Path, kind: str) -> Certificate:
    return certify_chain([before, after], [hop(kind)], ASKED).certificates[0]


def test_a_copy_is_the_same_in_everything(base: Path, tmp_path: Path):
    one = certificate(base, stage(base, tmp_path / "copy"), "copy")
    assert one.ok and one.layer is None
    assert one.weights and one.weights.identical == one.weights.tensors
    assert one.behaviour and one.behaviour.gap_max == 0 and one.behaviour.kl_max == 0
    assert one.behaviour.identical == one.behaviour.prompts == 5
    assert one.behaviour.greedy_tokens == 20 and one.behaviour.divergence is None
    assert all(before == after for before, after in one.facts.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_rounds_every_weight_once(base: Path, tmp_path: Path, dtype: torch.dtype):
    name = str(dtype).removeprefix("torch.")
    half = stage(base, tmp_path / "half", dtype=dtype)
    one = certificate(base, half, f"cast:dtype={name}")
    assert one.ok and one.weights and one.weights.within > 0
    assert not certificate(base, half, "copy").ok

    def nudge(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["model.layers.1.mlp.up_proj.weight"][3, 5] *= 1.02
        return weights

    other = certificate(base, stage(base, tmp_path / "nudged", nudge, dtype), "cast")
    assert [finding.where for finding in other.findings] == ["model.layers.1.mlp.up_proj.weight"]
    assert other.layer == 1


def test_a_merge_is_held_to_float32(base: Path, tmp_path: Path):
    lora = adapter(tmp_path / "lora", base)
    kind = f"merge:adapter={lora}"
    assert certificate(base, merged(base, tmp_path / "right", lora), kind).ok
    rounded = certificate(base, merged(base, tmp_path / "half", lora, dtype=torch.bfloat16), kind)
    assert "all its numbers are those of bfloat16" in rounded.findings[0].what
    scaled = certificate(base, merged(base, tmp_path / "scaled", lora, scale=1.0), kind)
    assert "0.5 times its scale" in scaled.findings[0].what
    left_out = certificate(base, stage(base, tmp_path / "none"), kind)
    assert "the adapter was not merged" in left_out.findings[0].what


def test_a_prune_may_only_make_zeros(base: Path, tmp_path: Path):
    def drop(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        value = weights["model.layers.0.mlp.down_proj.weight"]
        weights["model.layers.0.mlp.down_proj.weight"] = torch.where(value.abs() > 0.1, value, 0.0)
        return weights

    sparse = stage(base, tmp_path / "sparse", drop)
    assert certificate(base, sparse, "prune").ok
    assert not certificate(base, sparse, "copy").ok


def _square(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = "model.layers.1.self_attn.o_proj.weight"
    return {**weights, name: weights[name].T}


def _swapped(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    other = {name: name.replace(".1.", ".x.").replace(".2.", ".1.").replace(".x.", ".2.") for name in weights}
    return {name: weights[other[name]] for name in weights}


def _norm(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = "model.layers.2.input_layernorm.weight"
    return {**weights, name: weights[name] * 3}


def _head(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**weights, "lm_head.weight": torch.randn(weights["model.embed_tokens.weight"].shape)}


@pytest.mark.parametrize(
    ("change", "layer", "story"),
    [
        (_square, 1, "it is transposed"),
        (_swapped, 1, "it is that of layer 2"),
        (_norm, 2, "it is 3 times what it should be"),
        (_head, None, "lm_head.weight"),
    ],
)
def test_wrong_weights_are_recognised(base: Path, tmp_path: Path, change, layer: int | None, story: str):
    one = certificate(base, stage(base, tmp_path / "wrong", change), "cast")
    assert one.layer == layer
    assert any(story in finding.what for finding in one.findings)


FACTS = {
    "rope.factor": ("config.json", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
    "rope.max_position_embeddings": ("config.json", {"max_position_embeddings": 128}),
    "special.config_eos_token_id": ("config.json", {"eos_token_id": 0}),
    "special.generation_eos_token_id": ("generation_config.json", {"eos_token_id": 0}),
    "architecture.rms_norm_eps": ("config.json", {"rms_norm_eps": 1e-3}),
    "architecture.hidden_act": ("config.json", {"hidden_act": "gelu"}),
    "tied.flag": ("config.json", {"tie_word_embeddings": False}),
    "tokenizer.padding_side": ("tokenizer_config.json", {"padding_side": "left"}),
    "tokenizer.truncation_side": ("tokenizer_config.json", {"truncation_side": "left"}),
    "tokenizer.max_length": ("tokenizer_config.json", {"model_max_length": 64}),
    "special.pad_token_id": ("tokenizer_config.json", {"pad_token": "<|endoftext|>"}),
}


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_that_differs_is_named(base: Path, tmp_path: Path, fact: str):
    from weigh.parity.compare_facts import differing
    from weigh.parity.facts import of_folder

    if fact == "rope.factor":
        fact = "rope.rope_type"
        file, values = FACTS["rope.factor"]
    else:
        file, values = FACTS[fact]
    after = stage(base, tmp_path / "after")
    edit(after / file, **values)
    found = differing(of_folder(base), of_folder(after), hop("cast"))
    assert fact in [one.where for one in found]
    assert all(one.do for one in found)


def test_a_template_and_a_tokenizer_that_changed_are_named(base: Path, tmp_path: Path):
    from weigh.parity.compare_facts import differing
    from weigh.parity.facts import of_folder

    after = stage(base, tmp_path / "after")
    text = (after / "chat_template.jinja").read_text()
    (after / "chat_template.jinja").write_text(text.replace("<|im_start|>assistant", "<|im_start|>model"))
    assert [one.topic for one in differing(of_folder(base), of_folder(after), hop("copy"))] == ["template"]
    parts = json.loads((after / "tokenizer.json").read_text())
    parts["added_tokens"] = [one for one in parts["added_tokens"] if one["id"] != 2]
    parts["normalizer"] = {"type": "Lowercase"}
    (after / "tokenizer.json").write_text(json.dumps(parts))
    found = {one.where: one.what for one in differing(of_folder(base), of_folder(after), hop("copy"))}
    assert "tokenizer.normalizer" in found
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (after / name).unlink()
    gone = {one.what for one in differing(of_folder(base), of_folder(after), hop("copy"))}
    assert gone == {"the tokenizer is gone", "the chat template is gone"}


def test_what_differs_in_arithmetic_is_seen_in_the_layers(base: Path, tmp_path: Path):
    after = stage(base, tmp_path / "after")
    edit(after / "config.json", hidden_act="gelu")
    one = certificate(base, after, "copy")
    assert {"architecture", "behaviour"} <= {finding.topic for finding in one.findings}
    assert one.layers is not None and one.layers.first == 0
    assert len(one.layers.errors) == 3
    assert one.behaviour and one.behaviour.divergence is not None


def test_a_layer_is_blamed_alone(base: Path, tmp_path: Path):
    one = certificate(base, stage(base, tmp_path / "wrong", _square), "copy")
    assert one.layers is not None and one.layers.first == 1
    assert [error > one.layers.tolerance for error in one.layers.errors] == [False, True, False]


def test_weights_that_are_no_numbers_are_blamed_on_their_hop(base: Path, tmp_path: Path):
    def spoil(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["model.layers.2.mlp.up_proj.weight"][0, 0] = torch.nan
        return weights

    good, bad = stage(base, tmp_path / "good"), stage(base, tmp_path / "bad", spoil)
    chain = certify_chain([base, good, bad], [hop("copy"), hop("cast")], ASKED)
    assert (chain.blamed, chain.layer) == (2, 2)
    assert chain.certificates[1].findings[0].topic == "unreadable"
