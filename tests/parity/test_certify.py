"""Every kind of fault on one hop is found, named, and put into its layer; what is right raises no alarm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_llama import adapter, edit, merged, stage

from weigh.parity import Asked, Certificate, Chain, certify_chain, hop, told
from weigh.parity.compare_facts import first_difference

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


def test_the_first_line_of_a_template_that_differs_is_shown_and_every_fact_is_named(base: Path, tmp_path: Path):
    after = stage(base, tmp_path / "after")
    file = after / "chat_template.jinja"
    file.write_text(file.read_text().replace("<|im_start|>assistant", "<|im_start|>model"))
    one = certificate(base, after, "copy")
    (finding,) = one.findings
    assert finding.what.startswith("chat template differs first in line 3: was ")
    assert "<|im_start|>assistant" in finding.what and "<|im_start|>model" in finding.what
    assert len(finding.what) < 260 and "hash" not in finding.what
    facts = dict(told.sections(Chain(stages=(one.before, one.after), certificates=(one,), blamed=1))[0][1])["facts"]
    named = facts.partition("what differs is ")[2].split(", ")
    assert set(named) == {name for name, (was, now) in one.facts.items() if was != now} > {"template.rendered"}
    kept = json.loads(one.model_dump_json())["facts"]["template.text"]
    assert [len(value) for value in kept] == [16, 16] and kept[0] != kept[1]
    assert Certificate.model_validate_json(one.model_dump_json()) == one


def test_a_fact_without_a_value_is_not_taken_for_one_that_cannot_be_seen(base: Path, tmp_path: Path):
    after = stage(base, tmp_path / "after")
    edit(after / "config.json", pad_token_id=None)
    one = certificate(base, after, "copy")
    assert [finding.where for finding in one.findings] == ["special.config_pad_token_id"]
    assert one.facts["special.config_pad_token_id"] == (2, "not set")
    facts = dict(told.sections(Chain(stages=(one.before, one.after), certificates=(one,), blamed=1))[0][1])["facts"]
    assert facts.endswith("what differs is special.config_pad_token_id")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("a\nb", "a", "differs first in line 2: was 'b', is gone"),
        ("x" * 300 + "y", "x" * 300 + "z", f"differs first in line 1: was ...{'x' * 24}y', is ...{'x' * 24}z'"),
        ({"type": "NFC"}, {"type": None}, "differs first at type: was 'NFC', is not set"),
        ({"type": None}, {}, "differs first at type: was not set, is gone"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "differs first at a b: was 1, is 2"),
        ([["a", 5], ["b", 6]], [["a", 5], ["c", 6]], 'differs first at item 1 of 2 (now 2): was ["b", 6], is ["c", 6]'),
        (["a b"], ["a b", "c d"], "differs first at item 1 of 1 (now 2): there was nothing, is 'c d'"),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 7, 6]], "differs first at item 1 item 1 of 3 (now 3): was 5, is 7"),
    ],
)
def test_the_first_difference_of_what_is_hashed(before: object, after: object, words: str):
    assert first_difference(before, after) == f" {words}"
