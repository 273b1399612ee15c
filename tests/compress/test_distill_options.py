"""Students of language models, encoders and nets: what is written, what is counted, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from weigh import catalog
from weigh.choice import Unfit
from weigh.compress.distill import Calibration, Distill
from weigh.compress.distill._students import Class
from weigh.compress.distill.hidden import paired
from weigh.compress.distill.on_policy import gkd_loss, trainer
from weigh.model.artefact import artefact
from weigh.model.module import load_module, load_tokenizer, reopened
from weigh.model.source import Source, open_source
from weigh.model.toy import drawn, random_llama, save_llama

CHOICE = Distill()
QUICK = "steps=3,batch=4"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Stored in bfloat16, as language models are."""
    torch.set_num_threads(1)
    return open_source(save_llama(random_llama(0, 4).to(torch.bfloat16), tmp_path_factory.mktemp("llama")))


@pytest.fixture(scope="module")
def text(llama: Source) -> Calibration:
    return Calibration({"input_ids": drawn(load_module(llama), 0, count=16, length=16)})


def convert(option: str, source: Source, calibration: Calibration, folder: Path) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    return catalog.find(CHOICE, option).convert(source, calibration, folder)  # type: ignore[attr-defined,no-any-return]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("option", "asked"),
    [("plain", 0), ("logits", 12), ("hidden:states=all,match=mse", 12), ("on_policy:lmbda=1,warm=0.3", 12)],
)
def test_a_student_is_written_counted_and_the_same_again(
    option: str, asked: int, llama: Source, text: Calibration, tmp_path: Path
):
    spec = f"{option}{',' if ':' in option else ':'}{QUICK}"
    made, again = (convert(spec, llama, text, tmp_path / name) for name in ("one", "two"))
    assert bytes_of(made) == bytes_of(again)
    facts = json.loads((made / "distilled.json").read_text())
    assert facts["teacher_rows"] == asked and facts["teacher_tokens"] == asked * 16
    assert facts["layers"] == [0, 3] and len(facts["losses"]) == 3
    module = load_module(reopened(made, llama))
    assert module.config.num_hidden_layers == 2 and module.dtype == torch.float32
    assert (made / "model.safetensors").stat().st_size < (llama.path / "model.safetensors").stat().st_size


def test_parameters_and_calls_are_measured_of_an_artefact(llama: Source, text: Calibration):
    made = artefact(catalog.find(CHOICE, f"logits:{QUICK}"), llama, text)  # type: ignore[arg-type]
    module = load_module(reopened(made.path, llama))
    values = CHOICE.extras(module, made)
    assert values["parameters"] == sum(p.numel() for p in module.parameters()) / 1e6
    assert values["teacher_calls"] == 12


def test_sizes_are_by_share_by_count_and_by_width(llama: Source, text: Calibration, tmp_path: Path):
    made = convert(f"plain:layers=3,mlp=0.5,{QUICK}", llama, text, tmp_path)
    config = load_module(reopened(made, llama)).config
    assert (config.num_hidden_layers, config.intermediate_size) == (3, 64)
    with pytest.raises(Unfit, match="a student of 9 layers cannot be made of a teacher of 4"):
        convert(f"plain:layers=9,{QUICK}", llama, text, tmp_path)


def test_a_student_drafts_for_its_teacher_and_changes_no_token(llama: Source, text: Calibration, tmp_path: Path):
    draft = load_module(reopened(convert(f"logits:{QUICK}", llama, text, tmp_path), llama))
    model, prompt = load_module(llama), torch.from_numpy(text.tokens[:1, :4].copy())
    mask = torch.ones_like(prompt)
    asked: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "attention_mask": mask}
    greedy = model.generate(prompt, **asked)
    assert torch.equal(model.generate(prompt, assistant_model=draft, **asked), greedy)


def test_the_loss_on_own_text_is_that_of_trls_trainer(llama: Source, text: Calibration):
    pupils = Class(load_module(llama), random_llama(3, 1), (0,))
    ids = torch.from_numpy(text.tokens[:4].copy())
    mask, labels = torch.ones_like(ids), ids.clone()
    labels[:, :5] = -100
    mine = gkd_loss(trainer(), pupils, ids, mask, labels, 0.3)
    host = SimpleNamespace(teacher_model=pupils.teacher, beta=0.3, generalized_jsd_loss=trainer().generalized_jsd_loss)
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    assert float(mine) == pytest.approx(float(trainer().compute_loss(host, pupils.student, inputs)), rel=1e-6)


def test_layers_are_paired_as_far_up_as_they_stand():
    mine, theirs = (SimpleNamespace(config=SimpleNamespace(num_hidden_layers=n)) for n in (3, 6))
    assert paired(Class(theirs, mine, ())) == ((1, 2), (2, 4), (3, 6))


def test_a_student_of_another_tokenizer_is_refused(llama: Source, text: Calibration, tmp_path: Path):
    folder = save_llama(random_llama(1, 1), tmp_path / "other")
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"w7": 7', '"w8": 7').replace('"w8": 8', '"w7": 8'))
    with pytest.raises(Unfit, match="numbers 2 of the teacher's 256 tokens otherwise"):
        convert(f"logits:student={folder},{QUICK}", llama, text, tmp_path / "made")


def test_a_student_larger_than_its_teacher_is_refused(llama: Source, text: Calibration, tmp_path: Path):
    folder = save_llama(random_llama(1, 5), tmp_path / "large")
    with pytest.raises(Unfit, match=r"in 5 layers, the teacher .* in 4: a student is the smaller one"):
        convert(f"logits:student={folder},{QUICK}", llama, text, tmp_path / "made")


def test_a_student_of_your_own_is_taught(llama: Source, text: Calibration, tmp_path: Path):
    folder = save_llama(random_llama(1, 1, hidden_size=32), tmp_path / "small")
    made = convert(f"logits:student={folder},{QUICK}", llama, text, tmp_path / "made")
    assert load_module(reopened(made, llama)).config.hidden_size == 32
    with pytest.raises(Unfit, match="hidden states are 32 wide in the student and 64 in the teacher"):
        convert(f"hidden:student={folder},{QUICK}", llama, text, tmp_path / "again")


NETS = """
import torch


def large():
    return torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))


def small():
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def wrong():
    return torch.nn.Linear(4, 3)
"""


@pytest.fixture
def net(tmp_path: Path) -> tuple[Source, str, Calibration]:
    """A net of random weights with a row shape, its code, and rows with labels that it gives."""
    from safetensors.torch import save_file

    from weigh.model.net import made

    code = tmp_path / "nets.py"
    code.write_text(NETS)
    torch.manual_seed(0)
    teacher = made(f"{code}:large")
    save_file(teacher.state_dict(), tmp_path / "weights.safetensors")
    rows = torch.randn(200, 6)
    labels = teacher(rows).argmax(1).numpy()
    source = open_source(tmp_path / "weights.safetensors", f"{code}:large")
    from dataclasses import replace

    ports = tuple(replace(port, shape=(None, 6)) for port in source.inputs)
    feeds = {source.inputs[0].name: rows.numpy()}
    return replace(source, inputs=ports), str(code), Calibration(feeds, labels=labels)


@pytest.mark.parametrize("option", ["plain", "logits"])
def test_a_net_teaches_the_student_whose_code_is_named(
    option: str, net: tuple[Source, str, Calibration], tmp_path: Path
):
    source, code, rows = net
    spec = f"{option}:student={code}:small,steps=150,batch=32,rate=0.01,numbers=float32"
    made = convert(spec, source, rows, tmp_path / "made")
    student = load_module(reopened(made, source))
    said = student(torch.from_numpy(next(iter(rows.feeds.values())).copy())).argmax(1).numpy()
    assert made.suffix == ".pt2" and float(np.mean(said == rows.labels)) > 0.85


def test_a_net_without_a_named_student_is_refused(net: tuple[Source, str, Calibration], tmp_path: Path):
    source, code, rows = net
    with pytest.raises(Unfit, match=r"name the code that builds a smaller one .* student=net.py:small"):
        convert(f"logits:{QUICK}", source, rows, tmp_path)
    with pytest.raises(Unfit, match=r"there is no file .*gone\.py"):
        convert(f"logits:student={code.replace('nets', 'gone')}:small,{QUICK}", source, rows, tmp_path)
    with pytest.raises(Unfit, match="cannot learn from this teacher"):
        convert(f"logits:student={code}:wrong,{QUICK}", source, rows, tmp_path)
    with pytest.raises(Unfit, match="only scores are known: type logits"):
        convert(f"hidden:student={code}:small,{QUICK}", source, rows, tmp_path)
    with pytest.raises(Unfit, match="this model writes no text: type logits"):
        convert(f"on_policy:student={code}:small,{QUICK}", source, rows, tmp_path)


def test_other_code_of_a_student_is_another_artefact(net: tuple[Source, str, Calibration]):
    from weigh.model.artefact import key

    source, code, rows = net
    option = catalog.find(CHOICE, f"logits:student={code}:small,{QUICK}")
    before = key(option, source, rows)  # type: ignore[arg-type]
    Path(code).write_text(NETS.replace("Linear(6, 8)", "Linear(6, 4)"))
    assert key(option, source, rows) != before  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Calibration]:
    """A BERT of random weights, and sentences of which the second half is padding."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    save_llama(random_llama(0, 1), folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "max_position_embeddings": 64}
    net = BertModel(BertConfig(vocab_size=256, num_hidden_layers=4, initializer_range=0.3, **sizes))
    net.save_pretrained(folder, safe_serialization=True)
    ids = np.random.default_rng(0).integers(3, 256, (32, 12))
    mask = np.repeat(np.arange(12)[None] < 6, 32, axis=0).astype(np.int64)
    return open_source(folder), Calibration(
        {"input_ids": ids, "attention_mask": mask}, labels=np.array(["a", "b"] * 16)
    )


@pytest.mark.parametrize("option", ["logits", "hidden", "hidden:states=all,match=mse"])
def test_an_encoder_teaches_its_vectors(option: str, encoder: tuple[Source, Calibration], tmp_path: Path):
    from weigh.model.runner import ModuleRunner

    source, rows = encoder
    spec = f"{option}{',' if ':' in option else ':'}steps=60,batch=8,rate=0.003,numbers=float32"
    student = load_module(reopened(convert(spec, source, rows, tmp_path), source))
    from weigh.model.students import shallower

    teacher, raw = load_module(source), shallower(load_module(source), (0, 3))
    right, mine, before = (ModuleRunner(net, True, 1, 32).answer(rows.feeds) for net in (teacher, student, raw))
    apart = [1 - (one * right).sum(1).mean() for one in (mine, before)]
    assert apart[0] < 0.5 * apart[1], "an index that was built with the teacher's vectors finds the student's"


def test_an_encoder_without_a_teacher_learns_nothing(encoder: tuple[Source, Calibration], tmp_path: Path):
    with pytest.raises(Unfit, match="sentence vectors have no right answers"):
        convert(f"plain:{QUICK}", *encoder, tmp_path)
    with pytest.raises(Unfit, match="takes three of them: type batch=8"):
        convert("logits:steps=2,batch=2", *encoder, tmp_path)


@pytest.mark.parametrize(("option", "asked"), [("plain", 0), ("logits", 320), ("hidden", 320)])
def test_a_classifier_of_texts_teaches_its_classes(option: str, asked: int, tmp_path: Path):
    from transformers import BertConfig, BertForSequenceClassification

    save_llama(random_llama(0, 1), tmp_path / "bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "max_position_embeddings": 64}
    config = BertConfig(vocab_size=256, num_hidden_layers=4, num_labels=3, initializer_range=0.2, **sizes)
    net = BertForSequenceClassification(config).eval()
    net.save_pretrained(tmp_path / "bert", safe_serialization=True)
    ids = np.random.default_rng(0).integers(3, 256, (64, 12))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    with torch.no_grad():
        right = net(**{name: torch.from_numpy(values) for name, values in feeds.items()}).logits.argmax(1).numpy()
    source = open_source(tmp_path / "bert")
    spec = f"{option}:steps=40,batch=8,rate=0.003,numbers=float32"
    made = convert(spec, source, Calibration(feeds, labels=right), tmp_path / "made")
    student = load_module(reopened(made, source))
    said = student(**{name: torch.from_numpy(values.copy()) for name, values in feeds.items()}).logits.argmax(1).numpy()
    assert float((said == right).mean()) > 0.9
    assert json.loads((made / "distilled.json").read_text())["teacher_rows"] == asked


def test_an_onnx_file_has_no_student(tmp_path: Path, text: Calibration):
    source = Source(tmp_path / "m.onnx", "onnx", "classifier", "0")
    with pytest.raises(Unfit, match="logits trains a student, which changes torch modules, and this model is onnx"):
        convert("logits", source, text, tmp_path)


def test_a_students_folder_brings_its_tokenizer(llama: Source, text: Calibration, tmp_path: Path):
    made = convert(f"plain:{QUICK}", llama, text, tmp_path)
    assert load_tokenizer(open_source(made)).get_vocab() == load_tokenizer(llama).get_vocab()
