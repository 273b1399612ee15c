"""Torch models in fewer bits: what is written, what it computes, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weigh import catalog, decide
from weigh.choice import Unfit, UsageError
from weigh.compress.quantize import Calibration, Quantize, QuantizeTask
from weigh.compress.quantize._planted import Jitter
from weigh.engine.inline import InlineEngine
from weigh.model import forms, language
from weigh.model.module import load_module
from weigh.model.source import Source, open_source
from weigh.model.toy import drawn, random_llama, save_llama, write_language_toy

PACKED = ["int8_weights", "int8_dynamic", "int4_weights", "gptq", "mixed"]


def model(folder: Path, tied: bool) -> tuple[Source, Any, np.ndarray]:
    """A language model of two blocks, and windows that were drawn from it."""
    net = random_llama(0, 2, tie_word_embeddings=tied)
    save_llama(net, folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return open_source(folder), net, drawn(net, 0, 40, 24)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Any, np.ndarray]:
    return model(tmp_path_factory.mktemp("small"), tied=False)


@pytest.fixture(scope="module", params=[False, True], ids=["own head", "tied head"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Any, np.ndarray]:
    return model(tmp_path_factory.mktemp("either"), request.param)


@pytest.fixture
def written(choice: Quantize, tmp_path: Path) -> Callable[..., Path]:
    def made(spec: str, source: Source, ids: np.ndarray) -> Path:
        folder = tmp_path / spec.replace(":", "_")
        folder.mkdir()
        option = catalog.find(choice, spec)
        return option.convert(source, Calibration({"input_ids": ids[20:].copy()}), folder)  # type: ignore[attr-defined]

    return made


def lost(net: Any, path: Path, ids: np.ndarray) -> float:
    made = language.read(load_module(open_source(path)), ids)
    return float((language.read(net, ids).loglik - made.loglik).mean())


@pytest.mark.parametrize("spec", [*PACKED, "int8_weights:embeddings=false", "int8_dynamic:head=true", "bfloat16"])
def test_what_is_written_is_smaller_and_whole(either: Any, written: Callable[..., Path], spec: str) -> None:
    source, net, ids = either
    path = written(spec, source, ids)
    before, after = ((folder / "model.safetensors").stat().st_size for folder in (source.path, path))
    assert after < before * (0.6 if spec in PACKED else 0.75)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (path / name).read_bytes() == (source.path / name).read_bytes()
    assert open_source(path).kind == "language"
    least = {"int4_weights": 1.5, "gptq": 1.2, "mixed": 0.8}
    assert abs(lost(net, path, ids[:20])) < least.get(spec, 0.1)


def test_a_packed_layer_computes_what_its_weights_say(either: Any, written: Callable[..., Path]) -> None:
    """Against ordinary layers that hold the weights that the numbers stand for."""
    from weigh.compress.quantize._packing import nearest
    from weigh.model.packed import Scheme

    source, _, ids = either
    for spec, scheme in (("int8_weights", Scheme()), ("int4_weights", Scheme(4, 32, symmetric=False))):
        plain = load_module(source)
        for name, layer in plain.named_modules():
            if isinstance(layer, torch.nn.Linear) and name != "lm_head":
                layer.weight.copy_(nearest(layer.weight, scheme).weight)
        path = written(f"{spec}:embeddings=false", source, ids)
        made = load_module(open_source(path), "float32")
        tokens = torch.from_numpy(ids[:4].copy())
        mine, theirs = made(tokens).logits.float(), plain(tokens).logits
        assert float((mine - theirs).abs().max()) < 0.06 * float(theirs.abs().max())
        one = torch.from_numpy(ids[:1, :1].copy())  # the kernel for few rows
        assert float((made(one).logits - plain(one).logits).abs().max()) < 0.06 * float(theirs.abs().max())


def test_whole_numbers_are_those_of_torchao() -> None:
    pytest.importorskip("torchao", reason="torchao, the peer that is compared with, is not installed")
    from torchao.quantization import PerRow
    from torchao.quantization.quantize_.workflows.int8.int8_tensor import Int8Tensor

    from weigh.compress.quantize._packing import nearest
    from weigh.model.packed import Scheme

    weight = torch.randn(48, 96, generator=torch.Generator().manual_seed(0))
    theirs = Int8Tensor.from_hp(weight, PerRow())
    mine = nearest(weight, Scheme(activations="dynamic"))
    step = mine.scale.flatten()
    assert torch.allclose(theirs.scale.flatten(), step, rtol=0.01)
    assert float(((theirs.dequantize() - mine.weight).abs() / step[:, None]).max()) < 1.01
    assert float((mine.weight - weight).abs().max() / step.max()) <= 0.501


@pytest.mark.parametrize("bits", [4, 8])
def test_bits_are_packed_and_unpacked(bits: int) -> None:
    from weigh.model.packed import packed_bits, unpacked_bits

    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1)
    numbers = torch.randint(low, high, (5, 13), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    words = packed_bits(numbers, bits)
    assert words.shape == (5, -(-13 * bits // 32))
    assert torch.equal(unpacked_bits(words, bits, 13), numbers)
    first = sum((int(numbers[0, i]) - low) << (bits * i) for i in range(32 // bits))
    assert int(words[0, 0]) % 2**32 == first


def test_a_fresh_process_serves_it(small: Any, written: Callable[..., Path]) -> None:
    source, _, ids = small
    path = written("gptq", source, ids)
    code = (
        "import sys, pathlib, numpy\nfrom weigh.model import language\nfrom weigh.model.module import load_module\n"
        "from weigh.model.source import open_source\nnet = load_module(open_source(pathlib.Path(sys.argv[1])))\n"
        "print(language.write(net, numpy.arange(3, 7), 4).tokens)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    here = language.write(load_module(open_source(path)), np.arange(3, 7), 4).tokens
    assert out.splitlines()[-1] == str(here)


def test_the_seed_of_a_run_changes_no_byte(small: Any, written: Callable[..., Path], tmp_path: Path) -> None:
    source, _, ids = small
    first = (written("gptq", source, ids) / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "gptq")
    assert (written("gptq", source, ids) / "model.safetensors").read_bytes() == first


def test_nf4_is_kept_by_bitsandbytes(small: Any, written: Callable[..., Path]) -> None:
    source, net, ids = small
    path = written("nf4", source, ids)
    config = json.loads((path / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["bnb_4bit_quant_type"]) == ("bitsandbytes", "nf4")
    assert lost(net, path, ids[:20]) < 1.5


def test_the_blocks_that_suffer_most_stay_in_8_bits(choice: Quantize, tmp_path: Path) -> None:
    """Of four blocks, all but one hold only weights that 4 bits can say."""
    from weigh.compress.quantize._packing import nearest
    from weigh.model.packed import Scheme

    net = random_llama(1, 4)
    ids = drawn(net, 0, 40, 24)
    for place in (0, 1, 3):
        for layer in net.model.layers[place].modules():
            if isinstance(layer, torch.nn.Linear):
                layer.weight.copy_(nearest(layer.weight, Scheme(4, 32, symmetric=False)).weight)
    source = open_source(save_llama(net, tmp_path / "model"))
    option = catalog.find(choice, "mixed:share=0.25")
    (tmp_path / "made").mkdir()
    path = option.convert(source, Calibration({"input_ids": ids}), tmp_path / "made")  # type: ignore[attr-defined]
    groups = json.loads((path / "config.json").read_text())["quantization_config"]["config_groups"].values()
    eight = {name for one in groups if one["weights"]["num_bits"] == 8 for name in one["targets"]}
    assert {name.split(".")[2] for name in eight if "layers" in name} == {"2"}


@pytest.mark.parametrize("spec", [*PACKED, "nf4", "bfloat16", "float16", "none"])
def test_options_say_how_their_folders_are_packed(
    choice: Quantize, small: Any, written: Callable[..., Path], spec: str
) -> None:
    """What `weigh apply --as` refuses before anything is made."""
    option = catalog.find(choice, spec)
    assert forms.quantized_by(written(spec, small[0], small[2])) == option.packs  # type: ignore[attr-defined]


@pytest.mark.parametrize("spec", ["int4_weights:group=128", "gptq:group=128", "mixed:group=128"])
def test_groups_that_do_not_divide_are_refused(small: Any, written: Callable[..., Path], spec: str) -> None:
    source, _, ids = small
    with pytest.raises(Unfit, match="64 inputs, which groups of 128 do not divide: type group=64"):
        written(spec, source, ids)


@pytest.mark.parametrize("spec", ["gptq", "mixed"])
def test_nothing_to_calibrate_on_is_refused(choice: Quantize, small: Any, tmp_path: Path, spec: str) -> None:
    nothing = Calibration({"input_ids": np.zeros((0, 24), np.int64)})
    with pytest.raises(Unfit, match="no calibration rows"):
        catalog.find(choice, spec).convert(small[0], nothing, tmp_path)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "spec, why",
    [
        ("int8_static", "int8_dynamic has a scale a token"),
        ("int8_per_channel", "take that"),
        ("float16", "float16 ends at 65,504"),
    ],
)
def test_what_serves_no_language_model_says_so(
    written: Callable[..., Path], tmp_path: Path, spec: str, why: str
) -> None:
    net = random_llama(0, 1)
    net.model.layers[0].mlp.up_proj.weight[0, 0] = 1e5
    with pytest.raises(Unfit, match=why):
        written(spec, open_source(save_llama(net, tmp_path / "model")), np.zeros((30, 8), np.int64))


@pytest.mark.parametrize("spec", [*PACKED, "nf4", "bfloat16", "float16"])
def test_what_is_quantized_is_not_quantized_again(small: Any, written: Callable[..., Path], spec: str) -> None:
    source, _, ids = small
    already = written("int8_weights:embeddings=false", source, ids)
    with pytest.raises(Unfit, match="before it was quantized"):
        written(spec, open_source(already), ids)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    net = random_llama(0, 1)
    net.model.layers[0].mlp.up_proj.weight[3, 4] = float("nan")
    with pytest.raises(UsageError, match="1 values that are NaN"):
        open_source(save_llama(net, tmp_path))


def test_a_layout_that_is_not_computed_is_refused(small: Any, written: Callable[..., Path]) -> None:
    source, _, ids = small
    path = written("int8_weights", source, ids)
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = 3
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="packed in a way that weigh does not compute"):
        load_module(open_source(path))


def toy(folder: Path, rounds: int) -> QuantizeTask:
    asked = write_language_toy(folder).model_dump() | {"rounds": rounds, "windows": 4}
    return QuantizeTask(**asked)


def test_a_race_of_a_language_model_rejects_the_loser_and_ties_twins(
    choice: Quantize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weigh.model.text_bench.peak_mb", lambda *_: 1.0)
    task = toy(tmp_path, 60)
    options = [choice.loser(), Jitter(seed=1, noise=1e-4), Jitter(seed=2, noise=1e-4)]
    decision = decide("compress/quantize", task, ledger=tmp_path / "ledger.db", records=None, engine=InlineEngine(),
                      options=options, objective="drop", require=["drop <= 0.05"])  # fmt: skip
    assert decision.standing("hollow").outcome == "violates"
    assert decision.standing("hollow").measured["size"].estimate < decision.standing("none").measured["size"].estimate
    assert decision.verdict == "tie"
