"""A Llama written as GGUF is the same Llama, as transformers and llama.cpp read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_tasks import bert_fields

from weigh.choice import Unfit
from weigh.model import gguf_file
from weigh.model.gguf_tokens import cut_by, write_tokens
from weigh.model.gguf_write import llama3_factors, ordered, write_gguf
from weigh.model.module import load_module
from weigh.model.source import open_source
from weigh.model.toy import random_llama, save_llama

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}


def logits(net: Any, tokens: int = 12) -> np.ndarray:
    import torch

    ids = torch.randint(3, 256, (2, tokens), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made: np.ndarray = net(input_ids=ids).logits.numpy()
    return made


@pytest.mark.parametrize(
    "changed",
    [{}, {"tie_word_embeddings": True}, {"num_key_value_heads": 4, "rms_norm_eps": 1e-5}],
    ids=["plain", "tied", "all-heads"],
)
def test_transformers_reads_the_same_llama_back(changed: dict[str, Any], tmp_path: Path) -> None:
    """Its reader undoes what llama.cpp wants: a second implementation of names and of the order of queries and keys."""
    source = open_source(save_llama(random_llama(0, 2, **changed), tmp_path / "model"))
    made = write_gguf(source, tmp_path / "model.gguf", "F32", ids_only=True)
    found = open_source(made)
    assert found.format == "gguf" and found.kind == "language"
    again = gguf_file.load(made)
    assert np.abs(logits(again) - logits(load_module(source))).max() < 1e-4


@pytest.mark.parametrize(
    "changed",
    [{"rope_parameters": LLAMA3}, {"rope_parameters": LINEAR}, {"attention_bias": True}],
    ids=["llama3", "linear", "biased"],
)
def test_llama_cpp_computes_the_same_llama(changed: dict[str, Any], tmp_path: Path) -> None:
    """Prompts longer than the context that was scaled; biases, which transformers' reader of GGUF leaves out."""
    import torch

    from weigh.serve.runtime import Setting
    from weigh.serve.runtime._parity import log_softmax
    from weigh.serve.runtime.llama_cpp import LlamaCpp

    net = random_llama(0, 2, **changed)
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    source = open_source(save_llama(net, tmp_path / "model"))
    made = write_gguf(source, tmp_path / "model.gguf", "F32", ids_only=True)
    served = LlamaCpp().open(made, source, Setting(1, (1,), 100))
    ids = np.random.default_rng(0).integers(3, 256, (1, 100))
    with torch.inference_mode():
        truth = load_module(source)(input_ids=torch.from_numpy(ids)).logits[:, -1].double().numpy()
    assert np.abs(served.answer({"input_ids": ids}) - log_softmax(truth)).max() < 1e-3


def test_factors_of_llama_3_equal_those_of_transformers() -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {**LLAMA3, "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 8192}
    config = LlamaConfig(hidden_size=512, num_attention_heads=8, head_dim=64, rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1 / 500000.0 ** (np.arange(0, 64, 2) / 64)
    assert plain / np.array(llama3_factors(rope, 64)) == pytest.approx(scaled.numpy(), rel=1e-5)


def test_halves_of_queries_are_interleaved() -> None:
    """Source: `LlamaModel.permute` of llama.cpp's convert_hf_to_gguf.py."""
    config = random_llama(0, 1).config
    values = np.arange(64 * 2, dtype=np.float32).reshape(64, 2)
    made = ordered("model.layers.0.self_attn.q_proj.weight", values, config)
    assert made[:4, 0].tolist() == [values[0, 0], values[8, 0], values[1, 0], values[9, 0]]
    assert ordered("model.layers.0.self_attn.v_proj.weight", values, config) is values


def test_other_models_tokenizers_and_positions_are_refused(tmp_path: Path) -> None:
    source = open_source(Path(str(bert_fields(tmp_path / "bert")["model"])))
    with pytest.raises(Unfit, match=r"GGUF of LlamaForCausalLM, and this model is BertModel: .*convert_hf_to_gguf"):
        write_gguf(source, tmp_path / "a.gguf")
    source = open_source(save_llama(random_llama(0, 1), tmp_path / "llama"))
    with pytest.raises(Unfit, match="byte-level BPE tokenizers cut as GPT-2, SmolLM, Llama 3 or Qwen 2 do"):
        write_gguf(source, tmp_path / "b.gguf")
    narrow = open_source(save_llama(random_llama(0, 1, hidden_size=16, head_dim=4), tmp_path / "narrow"))
    with pytest.raises(Unfit, match=r"Q8_0 packs blocks of 32, and .* has rows of 16: type F16"):
        write_gguf(narrow, tmp_path / "c.gguf", "Q8_0", ids_only=True)
    yarn = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0, "original_max_position_embeddings": 64}
    source = open_source(save_llama(random_llama(0, 1, rope_parameters=yarn), tmp_path / "yarn"))
    with pytest.raises(Unfit, match="rotary positions of the type yarn"):
        write_gguf(source, tmp_path / "d.gguf", ids_only=True)


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([{"type": "ByteLevel", "use_regex": True}], "gpt-2"),
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}], "smollm"),
        ([{"type": "Digits", "individual_digits": False}, {"type": "ByteLevel"}], None),
        ([{"type": "Split", "pattern": {"Regex": "x"}}, {"type": "ByteLevel"}], None),
        ([{"type": "Whitespace"}], None),
    ],
)
def test_ways_to_cut_text_have_llama_cpps_names(steps: list[dict[str, Any]], name: str | None) -> None:
    told = {"model": {"type": "BPE"}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}
    assert cut_by(told) == name
    assert cut_by({**told, "model": {"type": "BPE", "byte_fallback": True}}) is None


class Collected(dict[str, Any]):
    """Takes the place of a writer: `add_x(value)` is kept under x."""

    def __getattr__(self, name: str) -> Any:
        return lambda value: self.__setitem__(name.removeprefix("add_"), value)


def test_the_tokenizer_of_smollm2_is_written_as_its_own_gguf_has_it() -> None:
    from gguf import GGUFReader
    from transformers import AutoTokenizer

    from weigh.data import smollm2

    if not smollm2.installed():
        pytest.skip(f"needs SmolLM2: {smollm2.INSTALL}")
    folder, made = smollm2.path(), Collected()
    config = type("Config", (), {"vocab_size": json.loads((folder / "config.json").read_text())["vocab_size"]})
    write_tokens(made, folder, AutoTokenizer.from_pretrained(folder, local_files_only=True), config, ids_only=False)
    reader = GGUFReader(smollm2.gguf())
    for key, name in {
        "tokens": "token_list", "merges": "token_merges", "pre": "tokenizer_pre", "model": "tokenizer_model",
        "bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id",
    }.items():  # fmt: skip
        field = reader.get_field(f"tokenizer.ggml.{key}")
        assert field is not None and field.contents() == made[name], key
    kinds = reader.get_field("tokenizer.ggml.token_type")
    assert kinds is not None and np.mean(np.array(kinds.contents()) == np.array(made["token_types"])) > 0.999
    assert made["add_bos_token"] is False
