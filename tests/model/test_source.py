"""A model that cannot be used is refused before anything is measured, in words that say what to type instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from weigh.choice import UsageError
from weigh.model import huggingface
from weigh.model.module import load_module, load_tokenizer, save_module
from weigh.model.source import format_of, open_source
from weigh.model.toy import random_llama, save_llama

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x)

def build():
    return Net()

def number():
    return 3

def broken():
    raise RuntimeError("no such thing")
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(random_llama(0, layers=2), tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture
def llama(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def config(folder: Path, **changed: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def test_a_hugging_face_folder_says_what_it_is(llama: Path):
    source = open_source(llama)
    assert (source.format, source.kind) == ("huggingface", "language")
    net, told = load_module(source), load_tokenizer(source)
    assert next(net.parameters()).dtype == torch.float32 and not net.training
    assert not any(weight.requires_grad for weight in net.parameters())
    assert told("w7 w8\nw255", add_special_tokens=False)["input_ids"] == [7, 8, 255]


def test_what_is_stored_in_half_is_computed_in_full_unless_it_was_made_so(llama: Path, tmp_path: Path):
    source = open_source(llama)
    net = load_module(source)
    stored = huggingface.save(net.to(torch.bfloat16), llama, tmp_path / "stored", compute="float32")
    made = huggingface.save(net.to(torch.bfloat16), llama, tmp_path / "made")
    assert next(load_module(open_source(stored)).parameters()).dtype == torch.float32
    assert next(load_module(open_source(made)).parameters()).dtype == torch.bfloat16
    assert load_tokenizer(open_source(made))("w9", add_special_tokens=False)["input_ids"] == [9]


@pytest.mark.parametrize("left", [0, 7, 100, 5000])
def test_weights_that_are_cut_off_are_refused(llama: Path, left: int):
    file = llama / "model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UsageError, match=r"is cut off or damaged .* copy it again"):
        open_source(llama)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(llama: Path, value: float):
    name = "model.layers.1.mlp.up_proj.weight"
    weights(llama, lambda tensors: tensors[name].view(-1)[3:5].fill_(value))
    with pytest.raises(UsageError, match=rf"'{name}' holds 2 values that are NaN or infinite of 8,192; take"):
        open_source(llama)


def test_great_weights_whose_sum_overflows_are_numbers_still(llama: Path):
    weights(llama, lambda tensors: tensors["lm_head.weight"].fill_(3e38))
    assert open_source(llama).kind == "language"


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(llama: Path):
    file = llama / "tokenizer.json"
    found = json.loads(file.read_text())
    found["model"]["vocab"]["w256"] = 256
    file.write_text(json.dumps(found))
    with pytest.raises(UsageError, match="has token 256, but the model knows 256 tokens"):
        open_source(llama)


def test_a_folder_without_its_parts_is_refused(llama: Path, tmp_path: Path):
    (llama / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"no tokenizer that can be read.*copy tokenizer\.json"):
        load_tokenizer(open_source(llama))
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"in a pickle \(pytorch_model\.bin\), which can run any code"):
        open_source(llama)
    (llama / "pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match=r"no \*\.safetensors"):
        open_source(llama)
    (llama / "config.json").unlink()
    (llama / "model.onnx").touch()
    with pytest.raises(UsageError, match=r"without config\.json.*model=.*model\.onnx"):
        format_of(llama)
    with pytest.raises(UsageError, match=r"no such file; did you mean .*model\?"):
        open_source(llama.with_name("modell"))


def test_a_shard_that_is_missing_is_named(llama: Path):
    index = {"weight_map": {"lm_head.weight": "model-2.safetensors", "model.norm.weight": "model.safetensors"}}
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=r"lacks model-2\.safetensors, which its index names"):
        open_source(llama)


def test_what_is_neither_language_model_nor_encoder_is_refused(llama: Path):
    config(llama, architectures=["LlamaForQuestionAnswering"])
    with pytest.raises(UsageError, match=r"is a LlamaForQuestionAnswering; weigh takes language models"):
        open_source(llama)


def test_code_of_a_model_is_never_run(llama: Path, tmp_path: Path):
    (llama / "modeling_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config(llama, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"}, model_type="evil")
    with pytest.raises(UsageError, match="cannot be loaded by transformers"):
        load_module(open_source(llama))
    assert not (tmp_path / "ran").exists()


def test_weights_alone_need_the_code_that_the_user_names(tmp_path: Path):
    (tmp_path / "net.py").write_text(NET)
    save_file({"layer.weight": torch.ones(3, 4), "layer.bias": torch.zeros(3)}, tmp_path / "net.safetensors")
    code = f"{tmp_path / 'net.py'}:"
    with pytest.raises(UsageError, match=r"holds weights alone; .*architecture=net\.py:build"):
        open_source(tmp_path / "net.safetensors")
    assert open_source(tmp_path / "net.safetensors", code + "build").kind == "classifier"
    for name, told in (("number", "gives int, not a torch.nn.Module"), ("broken", "RuntimeError: no such thing"),
                       ("lost", "AttributeError")):  # fmt: skip
        with pytest.raises(UsageError, match=told):
            open_source(tmp_path / "net.safetensors", code + name)
    with pytest.raises(UsageError, match=r"there is no file nowhere\.py"):
        open_source(tmp_path / "net.safetensors", "nowhere.py:build")
    save_file({"layer.weight": torch.ones(2, 4), "layer.bias": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"does not fit architecture="):
        open_source(tmp_path / "other.safetensors", code + "build")


def test_an_archive_needs_no_code_and_answers_the_same(tmp_path: Path):
    from dataclasses import replace

    from weigh.model.source import Port

    (tmp_path / "net.py").write_text(NET)
    save_file({"layer.weight": torch.randn(3, 4), "layer.bias": torch.zeros(3)}, tmp_path / "net.safetensors")
    source = open_source(tmp_path / "net.safetensors", f"{tmp_path / 'net.py'}:build")
    source = replace(source, inputs=(Port("X", "tensor(float)", (None, 4)),))
    net = load_module(source)
    again = load_module(open_source(save_module(net, source, tmp_path)))
    for rows in (1, 2, 7):
        x = torch.from_numpy(np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32))
        torch.testing.assert_close(again(x), net(x), rtol=0, atol=0)
    (tmp_path / "model.pt2").write_bytes((tmp_path / "model.pt2").read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"is no torch\.export archive"):
        open_source(tmp_path / "model.pt2")


def test_a_gguf_file_that_is_cut_off_is_refused(tmp_path: Path):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.zeros((16, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert open_source(tmp_path / "model.gguf").kind == "language"
    content = (tmp_path / "model.gguf").read_bytes()
    for left in (0, 10, len(content) - 500):
        (tmp_path / "model.gguf").write_bytes(content[:left])
        with pytest.raises(UsageError, match="is no whole GGUF file"):
            open_source(tmp_path / "model.gguf")
