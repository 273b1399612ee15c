"""The chosen model at its place: what was measured, whole or not at all, with a card; and in other forms, certified."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from weigh import apply as applying
from weigh import catalog, decide
from weigh.apply import apply
from weigh.choice import Table, UsageError
from weigh.compress.quantize.int8_weights import Int8Weights
from weigh.decision import Decision, Lock
from weigh.engine.inline import InlineEngine
from weigh.ledger import Ledger
from weigh.model import forms, write
from weigh.model.task import ModelTask
from weigh.model.toy import write_language_toy

Made = tuple[Lock, Decision]

NET = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
"""


def decided(task: ModelTask, folder: Path, **asked: Any) -> Made:
    made = decide("compress/quantize", task, ledger=folder / "l.db", records=None, engine=InlineEngine(), **asked)
    with Ledger(folder / "l.db") as book:
        return book.lock(made.lock), made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apply")


@pytest.fixture(autouse=True)
def cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGH_CACHE", str(home / "cache"))


@pytest.fixture(scope="module")
def language(home: Path) -> Made:
    """A Llama whose weights were cut to bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(home / "cache"))
        task = write_language_toy(home / "toy", layers=2)
        (task.model / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: en\n---\n# A toy\n")
        task = task.model_copy(update={"rounds": 10, "windows": 4, "data": task.data})
        return decided(task, home, options=["bfloat16"], objective="size", require=["drop <= 0.15"])


@pytest.fixture(scope="module")
def rows(home: Path) -> Made:
    """A net of the user's own code, kept as it is."""
    import torch
    from safetensors.torch import save_file

    folder = home / "net"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    space: dict[str, Any] = {}
    exec(NET, space)
    net = space["build"]()
    save_file(net.state_dict(), folder / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    with torch.inference_mode():
        np.savez(folder / "rows.npz", X=x, y=net(torch.from_numpy(x)).argmax(1).numpy())
    task = ModelTask(
        model=folder / "net.safetensors", data=folder / "rows.npz", architecture=f"{folder / 'net.py'}:build",
        calibration_rows=50, rounds=20, runs=2, warmup=1,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(home / "cache"))
        return decided(task, home, options=["none"])


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_holds_what_was_measured_and_a_card_that_quotes_the_decision(language: Made, tmp_path: Path):
    lock, made = language
    assert made.chosen == "bfloat16"
    applied = apply(lock, made, tmp_path / "served", record="decisions/1.md")
    assert applied.model == tmp_path / "served" and applied.certificate is None
    assert files(applied.model) >= {"model.safetensors", "config.json", "tokenizer.json", "weigh.json", "README.md"}
    card = applied.card.read_text()
    told = yaml.safe_load(card.split("---")[1])
    assert told == {
        "library_name": "transformers", "pipeline_tag": "text-generation", "license": "apache-2.0", "language": "en",
        "tags": ["weigh", "compress/quantize", "bfloat16"],
    }  # fmt: skip
    assert made.answer.split(";")[0] in card and "decisions/1.md" in card and made.lock in card
    assert f'from_pretrained("{applied.model}", dtype="bfloat16")' in card
    assert "| `none` | dominated |" in card and "None" not in card and "{{" not in card


def test_the_front_matter_is_one_that_the_hub_reads(language: Made, tmp_path: Path):
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    card = hub.ModelCard(apply(*language, tmp_path / "served").card.read_text())
    assert card.data.library_name == "transformers" and card.data.tags == ["weigh", "compress/quantize", "bfloat16"]
    assert card.data.license == "apache-2.0" and card.text.lstrip().startswith("# model, bfloat16")


@pytest.mark.slow
def test_transformers_alone_loads_it_as_the_card_says(language: Made, tmp_path: Path):
    applied = apply(*language, tmp_path / "served")
    code = applied.card.read_text().split("```python\n")[1].split("```")[0]
    code += "\nimport torch, sys\nassert not any(name.startswith('weigh') for name in sys.modules)\n"
    code += "print(model(torch.tensor([[5, 6, 7]])).logits.dtype, tokenizer('w7')['input_ids'][-1])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert ran.stdout.split() == ["torch.bfloat16", "7"], ran.stderr


def test_the_same_is_left_alone_and_something_else_is_not_replaced_unasked(language: Made, tmp_path: Path):
    place = tmp_path / "served"
    apply(*language, place)
    before = (place / "model.safetensors").stat().st_ino
    apply(*language, place)
    assert (place / "model.safetensors").stat().st_ino == before
    (place / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UsageError, match="exists and holds something else"):
        apply(*language, place)
    apply(*language, place, overwrite=True)
    assert (place / "model.safetensors").stat().st_size > 1000
    (place / "notes.txt").write_text("mine")
    (place / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UsageError, match=r"holds notes.txt, which weigh did not write"):
        apply(*language, place, overwrite=True)
    assert (place / "notes.txt").read_text() == "mine"
    (place / "notes.txt").unlink()
    (place / "README.md").write_text("# mine")
    with pytest.raises(UsageError, match="was not written by weigh, and a folder is replaced as a whole"):
        apply(*language, place, overwrite=True)
    assert files(tmp_path) == {"served"}


def test_what_is_not_what_was_measured_is_not_written(language: Made, tmp_path: Path):
    lock, made = language
    sha = hashlib.sha256(next(apply(lock, made, tmp_path / "a").model.glob("*.safetensors")).read_bytes()).hexdigest()
    for told, name in ((sha, "b"), ("0" * 64, "c")):
        table = Table(title="Files", columns=("option", "sha256", "file"), rows=((made.chosen, told, "x"),))
        if told == sha:
            apply(lock, made, tmp_path / name, exhibits=[table])
            continue
        with pytest.raises(UsageError, match=rf"measured with SHA-256 {told}, .* now has {sha}"):
            apply(lock, made, tmp_path / name, exhibits=[table])
        assert not (tmp_path / name).exists()


def test_what_was_decided_on_is_never_overwritten(language: Made, home: Path):
    model = Path(language[0].task["model"])
    kept = {path: path.read_bytes() for path in model.iterdir()}
    for place in (model, model.parent, model / "served"):
        with pytest.raises(UsageError, match="what the decision was made on"):
            apply(*language, place, overwrite=True)
    assert {path: path.read_bytes() for path in model.iterdir()} == kept
    assert not list(model.parent.glob(".*"))


def test_a_place_that_does_not_fit_is_refused_with_what_does(language: Made, rows: Made, tmp_path: Path):
    for name, told in (("served.gguf", "--as gguf"), ("served.onnx", "--as onnx"), ("served.pt2", "such as .*served")):
        with pytest.raises(UsageError, match=told):
            apply(*language, tmp_path / name)
    with pytest.raises(UsageError, match=r"goes with its tokenizer into a folder; name one: .*served"):
        apply(*language, tmp_path / "served.onnx", form="onnx")
    with pytest.raises(UsageError, match=r"--as gguf writes a file; name it so: .*served\.gguf, or name a folder"):
        apply(*language, tmp_path / "served.onnx", form="gguf")
    with pytest.raises(UsageError, match=r"there is no form 'tflite': type --as safetensors"):
        apply(*language, tmp_path / "served", form="tflite")
    with pytest.raises(UsageError, match=r"is a \.safetensors file; name it so: .*served\.safetensors"):
        apply(*rows, tmp_path / "served.pt2")
    with pytest.raises(UsageError, match="GGUF holds language models, and this is a net of your own"):
        apply(*rows, tmp_path / "served.gguf", form="gguf")
    assert not list(tmp_path.iterdir())


def test_a_file_goes_into_a_folder_that_is_named_with_its_card(rows: Made, tmp_path: Path):
    (tmp_path / "there").mkdir()
    for to in (str(tmp_path / "smaller"), f"{tmp_path}/smaller.v2/", str(tmp_path / "there")):
        applied = apply(*rows, to)
        assert applied.model == Path(to) / "model.safetensors" and applied.card == Path(to) / "README.md"
        assert files(Path(to)) == {"model.safetensors", "README.md"}
        assert f'load_file("{applied.model}")' in applied.card.read_text()
        apply(*rows, to)
    other = apply(*rows, tmp_path / "graph", form="onnx")
    assert other.model == tmp_path / "graph" / "model.onnx"
    assert files(tmp_path / "graph") == {"model.onnx", "README.md", "parity.json"}
    assert other.certificate and json.loads(other.certificate.read_text())["after"] == str(other.model)


def test_cards_of_two_files_do_not_meet_and_one_of_the_users_own_is_kept(rows: Made, tmp_path: Path):
    applied = apply(*rows, tmp_path / "net.safetensors")
    assert applied.card == tmp_path / "net.safetensors.md" and applied.card.read_text().endswith("```\n")
    applied.card.write_text("# mine")
    with pytest.raises(UsageError, match=r"net\.safetensors\.md exists and holds something else"):
        apply(*rows, tmp_path / "net.safetensors")
    apply(*rows, tmp_path / "net.safetensors", overwrite=True)
    assert "weigh" in applied.card.read_text()


@pytest.mark.slow
def test_code_of_cards_runs_and_uses_the_model(language: Made, tmp_path: Path):
    card = apply(*language, tmp_path / "served", form="onnx").card.read_text()
    assert ran(card).strip()


@pytest.mark.slow
def test_code_of_a_gguf_writes_a_text(tmp_path: Path):
    from weigh.data import smollm2

    pytest.importorskip("xllamacpp", reason="needs xllamacpp")
    if not smollm2.installed():
        pytest.skip(f"needs SmolLM2: {smollm2.INSTALL}")
    code, _ = forms.loading(smollm2.gguf(), smollm2.gguf(), "language")
    assert len(ran(f"```python\n{code}\n```").split()) > 5


def ran(card: str) -> str:
    """What the code of a card prints."""
    code = card.split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_form_that_packed_weights_do_not_go_into_is_refused_before_torch_is_imported(language: Made, tmp_path: Path):
    """Nothing is opened or made: the chosen option says how it packs."""
    lock, made = language
    packed = catalog.lock_option(catalog.choice(lock.choice), Int8Weights())
    told = lock.model_copy(update={"options": (packed,)}).model_dump_json()
    code = f"""
import sys
from weigh.apply import apply
from weigh.decision import Decision, Lock
lock = Lock.model_validate_json({told!r})
made = Decision.model_validate_json({made.model_dump_json()!r}).model_copy(update={{"chosen": "int8_weights"}})
for to, form in (("served.gguf", "gguf"), ("served.pt2", "gguf")):
    try:
        apply(lock, made, to, form=form)
    except Exception as error:
        print(error)
assert not {{"torch", "transformers"}} & set(sys.modules)
"""
    refused = ran(f"```python{code}```")
    assert "int8_weights keeps its weights as compressed-tensors does, which gguf cannot hold" in refused
    assert "--option bfloat16 --option float16" in refused


@pytest.mark.slow
def test_an_encoder_is_handed_on_with_all_that_makes_a_sentence_vector(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import polars as pl
    import torch
    from transformers import BertConfig, BertModel

    from weigh.model import rows_bench
    from weigh.model.toy import save_llama

    monkeypatch.setattr(rows_bench, "peak_mb", lambda *_: 1.0)  # a process an artefact, and not what is asked here
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=256, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    model = save_llama(BertModel(config).eval(), home / "bert")
    sentence = {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "LICENSE"}
    for name in sentence:
        (model / name).write_text("[]")
    (model / "pytorch_model.bin").write_bytes(b"pickled")
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text("{}")
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{token}" for token in random.integers(3, 250, 6)) for _ in range(300)]
    pl.DataFrame({"text": texts, "y": random.integers(0, 2, 300)}).write_parquet(home / "texts.parquet")
    task = ModelTask(model=model, data=home / "texts.parquet", calibration_rows=20, rounds=10, runs=2, warmup=1)
    lock, made = decided(task, home, options=["bfloat16"], objective="size", require=["agreement >= 0.3"])
    assert made.chosen == "bfloat16"
    applied = apply(lock, made, tmp_path / "served")
    assert files(applied.model) >= sentence | {"1_Pooling", "tokenizer.json"}
    assert "pytorch_model.bin" not in files(applied.model)
    for card in (applied.card, apply(lock, made, tmp_path / "onnx", form="onnx").card):
        assert len(ran(card.read_text()).replace("[", " ").split()) >= 32


def test_killed_half_way_leaves_nothing_half_written(language: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(made: Any, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(applying._write, "copy_into", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(*language, tmp_path / "served")
    assert not list(tmp_path.iterdir())
    left = tmp_path / f".served.{'0' * 32}.tmp"  # of a run that was killed by the system
    left.mkdir()
    os.utime(left, (1, 1))
    monkeypatch.undo()
    monkeypatch.setenv("WEIGH_CACHE", str(Path(language[0].task["model"]).parents[1] / "cache"))
    apply(*language, tmp_path / "served")
    assert files(tmp_path) == {"served"}


def test_two_at_once_leave_one_whole_folder(language: Made, tmp_path: Path):
    task, place = ModelTask.model_validate(language[0].task), tmp_path / "served"

    def fill(seed: int, overwrite: bool) -> str:
        try:
            with write.whole_folder(place, task, overwrite) as folder:
                for name in ("a", "b"):
                    (folder / name).write_text(str(seed))
                (folder / write.CARD).write_text('---\ntags: ["weigh", "x"]\n---\n')
        except UsageError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(lambda seed: fill(seed, overwrite=False), range(8)))
        assert sum(not one for one in refused) == 1 and all("holds something else" in one for one in refused if one)
        assert all(not one for one in pool.map(lambda seed: fill(seed, overwrite=True), range(40)))
    assert (place / "a").read_text() == (place / "b").read_text()
    assert files(place) == {"a", "b", "README.md"} and files(tmp_path) == {"served"}


def test_a_decision_without_a_model_writes_none(language: Made, tmp_path: Path):
    lock, made = language
    with pytest.raises(UsageError, match="nothing was chosen"):
        apply(lock, made.model_copy(update={"chosen": None}), tmp_path / "served")
    with pytest.raises(UsageError, match="monitor/drift chooses no model file"):
        apply(lock.model_copy(update={"choice": "monitor/drift"}), made, tmp_path / "served")
    with pytest.raises(UsageError, match=r"serve/decoding chooses how a model runs .* set bfloat16 where it serves"):
        apply(lock.model_copy(update={"choice": "serve/decoding"}), made, tmp_path / "served")
    with pytest.raises(UsageError, match="no longer those that were decided on"):
        apply(lock.model_copy(update={"task_fingerprint": "sha256:0"}), made, tmp_path / "served")


def test_a_quantized_model_is_handed_on_as_it_is(home: Path, language: Made, tmp_path: Path):
    folder = Path(shutil.copytree(Path(language[0].task["model"]), tmp_path / "packed"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    source = forms.Source(folder, "huggingface", "language", "0")
    for form in ("onnx", "gguf"):
        with pytest.raises(UsageError, match=f"as bitsandbytes does, which {form} cannot hold; leave --as out"):
            forms.need_form(source, form, "nf4")
    forms.need_form(source, "safetensors", "nf4")
    assert forms.loading(folder, tmp_path / "x", "language")[1] == ("torch", "transformers", "bitsandbytes")
    (folder / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "compressed-tensors"}})
    )
    code, packages = forms.loading(folder, tmp_path / "x", "language")
    assert "load_module" in code and packages[0] == "weigh"
    onnx = forms.Source(tmp_path / "m.onnx", "onnx", "classifier", "0")
    with pytest.raises(UsageError, match="int8 made an ONNX file, which is not turned into safetensors"):
        forms.need_form(onnx, "safetensors", "int8")


@pytest.mark.slow
def test_an_onnx_file_answers_as_what_was_measured_at_any_length(language: Made, tmp_path: Path):
    import onnxruntime
    import torch

    from weigh.model.module import load_module
    from weigh.model.source import open_source

    applied = apply(*language, tmp_path / "served", form="onnx")
    assert files(applied.model) == {
        "model.onnx", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md",
        "parity.json",
    }  # fmt: skip
    session = onnxruntime.InferenceSession(applied.model / "model.onnx", providers=["CPUExecutionProvider"])
    apply(*language, tmp_path / "folder")
    net = load_module(open_source(tmp_path / "folder"), "float32")
    for shape in ((1, 1), (3, 11), (2, 40)):
        ids = torch.from_numpy(np.random.default_rng(1).integers(3, 200, shape))
        mask = torch.ones_like(ids)
        mask[-1, shape[1] // 2 + 1 :] = 0
        (ours,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        theirs = net(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(torch.from_numpy(ours)[mask.bool()], theirs[mask.bool()], rtol=0, atol=1e-4)
    assert applied.certificate is not None
    told = json.loads(applied.certificate.read_text())
    assert told["hop"]["kind"] == "export" and not told["findings"] and told["behaviour"]["identical"] == 16
    assert "16 of 16 prompts are continued with the same greedy tokens" in applied.card.read_text()


@pytest.mark.slow
def test_a_net_of_ones_own_becomes_onnx_and_a_broken_one_is_not_written(
    rows: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import onnx
    from onnx import numpy_helper

    applied = apply(*rows, tmp_path / "served.onnx", form="onnx")
    assert files(tmp_path) == {"served.onnx", "served.onnx.md", "served.onnx.parity.json"}
    assert "600" not in applied.card.read_text().split("##")[0]
    whole: Callable[..., Path] = forms._onnx

    def bent(source: Any, folder: Path) -> Path:
        path = whole(source, folder)
        model = onnx.load(path)
        weight = next(one for one in model.graph.initializer if len(one.dims) == 2)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.1, weight.name))
        onnx.save(model, path)
        return path

    monkeypatch.setattr(forms, "_onnx", bent)
    with pytest.raises(UsageError, match="none as onnx is not what was measured, and nothing was written"):
        apply(*rows, tmp_path / "other.onnx", form="onnx")
    assert files(tmp_path) == {"served.onnx", "served.onnx.md", "served.onnx.parity.json"}


@pytest.mark.slow
def test_a_model_that_onnx_cannot_hold_is_refused_in_words(rows: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    class Strange(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(x.T @ x).real

    monkeypatch.setattr(forms, "_exportable", lambda source: (Strange(), (torch.ones(2, 8),), ["X"], ["scores"], None))
    with pytest.raises(UsageError, match=r"cannot be written as ONNX .*linalg_eig.*leave --as out"):
        apply(*rows, tmp_path / "served.onnx", form="onnx")
    assert not list(tmp_path.iterdir())
