"""A row of stages: which hop breaks, and what the command says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_llama import adapter, edit, merged, stage

from weigh.choice import UsageError
from weigh.cli import main
from weigh.parity import Asked, Chain, Hop, certify_chain, hop, told

ASKED = Asked(prompts=4, new_tokens=4)
OROJ = "model.layers.1.self_attn.o_proj.weight"


def turned(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**weights, OROJ: weights[OROJ].T}


@pytest.fixture(scope="module")
def row(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """base -> merged -> bfloat16, all right."""
    folder = tmp_path_factory.mktemp("row")
    whole = merged(base, folder / "merged", adapter(folder / "lora", base))
    return [base, whole, stage(whole, folder / "half", dtype=torch.bfloat16)]


@pytest.fixture
def hops(row: list[Path]) -> list[Hop]:
    return [hop(f"merge:adapter={row[1].parent / 'lora'}"), hop("cast:dtype=bfloat16")]


def test_a_right_pipeline_raises_no_alarm(row: list[Path], hops: list[Hop]):
    chain = certify_chain(row, hops, ASKED)
    assert chain.ok and chain.blamed is None and chain.layer is None
    assert told.answer(chain) == "Parity: all 2 hops keep their rules."
    assert Chain.model_validate_json(chain.model_dump_json()) == chain


@pytest.mark.parametrize("broken", [1, 2])
def test_the_hop_with_the_fault_is_blamed_and_its_layer(row: list[Path], hops: list[Hop], tmp_path: Path, broken: int):
    stages = list(row)
    stages[1] = stage(row[1], tmp_path / "merged", turned if broken == 1 else None)
    stages[2] = stage(stages[1], tmp_path / "half", turned if broken == 2 else None, torch.bfloat16)
    chain = certify_chain(stages, hops, ASKED)
    assert (chain.blamed, chain.layer) == (broken, 1)
    assert chain.certificates[broken % 2].ok
    first = certify_chain(stages, hops, Asked(prompts=4, new_tokens=4, stop=True))
    assert (first.blamed, len(first.certificates)) == (broken, broken)
    assert told.sections(first)[-1][0].endswith("not looked at") == (broken == 1)
    assert f"hop {broken}," in told.answer(chain) and "layer 1" in told.answer(chain)


def test_weights_of_an_earlier_stage_are_recognised(row: list[Path], hops: list[Hop], tmp_path: Path):
    stale = stage(row[0], tmp_path / "stale", dtype=torch.bfloat16)
    chain = certify_chain([*row[:2], stale], hops, ASKED)
    assert chain.blamed == 2
    assert "it is that of an earlier stage, base" in chain.certificates[1].findings[0].what


def test_kinds_are_told_from_the_formats(row: list[Path]):
    kinds = [(one.hop.kind, one.hop.guessed) for one in certify_chain(row, (), ASKED).certificates]
    assert kinds == [("copy", True), ("cast", True)]


def test_the_command_says_which_hop_and_exits_with_8(
    row: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    small = ["--prompts", "3", "--tokens", "3", "--quiet"]
    assert main(["parity", str(row[1]), str(row[2]), *small]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Parity: the hop keeps its rule.")
    assert "told from the formats" in out and "argmax" in out
    assert len(list((tmp_path / "parity").glob("*.json"))) == 1
    broken = stage(row[1], tmp_path / "broken", turned, torch.bfloat16)
    edit(broken / "config.json", eos_token_id=0)
    words = ["parity", str(row[1]), str(broken), "--hop", "cast:dtype=bfloat16", "--to", "here.json", *small]
    assert main(words) == 8
    out = capsys.readouterr().out
    assert out.startswith(
        "No parity: the cast from merged to broken breaks its rule; the first layer that differs is layer 1."
    )
    assert "it is transposed" in out and "eos token id was 2, is 0" in out
    assert json.loads((tmp_path / "here.json").read_text())["blamed"] == 1
    assert main([*words, "--json"]) == 8
    assert json.loads(capsys.readouterr().out)["layer"] == 1


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["base", "nothing"], "there is no such"),
        (["base"], "parity compares two models or more"),
        (["base", "base", "--hop", "melt"], "there is no kind of hop 'melt'"),
        (["base", "base", "--hop", "cast:width=3"], "there is no setting of a cast hop 'width'"),
        (["base", "base", "--hop", "cast:dtype"], "dtype has no value"),
        (["base", "base", "--hop", "cast:dtype=int3"], "dtype"),
        (["base", "base", "--hop", "copy", "--hop", "copy"], "2 stages have 1 hops between them, and 2 are named"),
        (["base", "base", "--hop", "merge:adapter=base"], "is no LoRA adapter"),
        (["notes.txt", "base"], "notes.txt"),
        (["base", "base", "--text", "empty.txt"], "empty"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words, why: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "base").symlink_to(base)
    assert main(["parity", *words, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("weigh: ") and error.count("\n") == 1
    assert why in error


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path):
    lora = adapter(tmp_path / "lora", base)
    from safetensors.torch import load_file, save_file

    parts = load_file(lora / "adapter_model.safetensors")
    save_file(
        {name.replace("layers.2", "layers.9"): part for name, part in parts.items()}, lora / "adapter_model.safetensors"
    )
    with pytest.raises(UsageError, match=r"changes model\.layers\.9"):
        certify_chain([base, base], [hop(f"merge:adapter={lora}")], ASKED)
    edit(lora / "adapter_config.json", use_dora=True)
    with pytest.raises(UsageError, match="use_dora"):
        certify_chain([base, base], [hop(f"merge:adapter={lora}")], ASKED)
