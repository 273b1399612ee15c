"""Chains: as they are typed, and what is refused; each step works on what the one before it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weigh import catalog
from weigh.choice import Unfit, UsageError
from weigh.compress.combine._interaction import Effects, Product, _rows, interactions
from weigh.compress.combine._steps import parsed, typed
from weigh.compress.combine.chain import Chain
from weigh.model import text_bench
from weigh.model.artefact import artefact, artefacts
from weigh.model.module import load_module, reopened
from weigh.model.source import Source, open_source
from weigh.model.task import Calibration
from weigh.model.toy import random_llama, save_llama

torch = pytest.importorskip("torch")

CHOICE = catalog.choice("compress/combine")
TOKENS = np.random.default_rng(0).integers(3, 256, (12, 16))
REFUSED = {
    "": "no step is named",
    "wanda": "'wanda' is no step",
    "prune/depth+": "'' is no step",
    "pruen/wanda": "did you mean 'prune'",
    "prune/wand": "did you mean 'wanda'",
    "prune/wanda:shar=0.5": "did you mean 'share'",
    "prune/wanda:share=2": "share must be less than 1",
    "prune/none": "changes nothing: leave it out",
    "prune/depth+prune/depth:share=0.2": "has prune/depth twice",
    "quantize/int8_weights+prune/depth": "prune cannot follow quantize .*prune/depth.quantize/int8_weights",
    "distill/logits+heads/multi_query": "heads cannot follow distill",
    "quantize/bfloat16+quantize/int8_weights": "are both of compress/quantize",
    "prune/wanda+distill/logits": "the zeros of prune/wanda would not last",
    "prune/depth+distill/logits:student=other": "leave out student=",
}


def chain(text: str) -> Any:
    return catalog.find(CHOICE, f"chain:steps={text}")


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_a_chain_is_refused_with_what_to_type(text: str) -> None:
    with pytest.raises(UsageError, match=REFUSED[text]):
        chain(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("prune/wanda:share=0.5+quantize/int8_weights", "prune/wanda+quantize/int8_weights"),
        ("prune/n_m:kept=1:of=8", "prune/n_m:kept=1:of=8"),
        ("heads/multi_query+prune/depth", "heads/multi_query+prune/depth"),
        ("prune/depth:share=2e-1", "prune/depth:share=0.2"),
        ("prune/depth + distill/logits:rate=1e-4", "prune/depth+distill/logits:rate=0.0001"),
    ],
)
def test_a_chain_is_shown_as_it_can_be_typed(text: str, shown: str) -> None:
    found = chain(text)
    assert found.steps == shown
    assert catalog.find(CHOICE, found.spec) == found and typed(parsed(shown)) == shown


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(save_llama(random_llama(layers=3), tmp_path_factory.mktemp("llama")))


@pytest.fixture
def calibration() -> Calibration:
    return Calibration({"input_ids": TOKENS.copy()})


def test_a_chain_is_its_steps_one_after_another(source: Source, calibration: Calibration) -> None:
    whole = artefact(chain("prune/depth+prune/wanda:share=0.25"), source, calibration)
    now = source
    for spec in ("depth", "wanda:share=0.25"):
        option = catalog.find(catalog.choice("compress/prune"), spec)
        now = reopened(artefact(option, now, calibration).path, now)  # type: ignore[arg-type]
    ids = torch.from_numpy(TOKENS)
    assert torch.equal(load_module(reopened(whole.path, source))(ids).logits, load_module(now)(ids).logits)
    assert len(load_module(reopened(whole.path, source)).model.layers) == 2


def test_a_second_chain_takes_up_the_first(
    source: Source, calibration: Calibration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The steps that two chains begin with are taken once, whoever took them."""
    from weigh.compress.prune.depth import Depth
    from weigh.compress.prune.wanda import Wanda

    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path / "cache"))
    taken: list[str] = []
    for cls in (Depth, Wanda):
        first = cls.convert
        monkeypatch.setattr(cls, "convert", lambda self, *a, first=first: taken.append(self.name) or first(self, *a))
    artefact(catalog.find(catalog.choice("compress/prune"), "depth"), source, calibration)  # type: ignore[arg-type]
    artefact(chain("prune/depth+prune/wanda"), source, calibration)
    longer = artefact(chain("prune/depth+prune/wanda+prune/magnitude:share=0.1"), source, calibration)
    assert taken == ["depth", "wanda"]
    assert not [file for file in longer.files if file.name == "artefact.txt"]
    known = {file.stat().st_ino for file in artefacts().rglob("*.safetensors")}
    assert len(known) == 3 < len(list(artefacts().rglob("*.safetensors"))), "the same bytes lie there once"


def test_distilling_after_pruning_teaches_what_was_pruned(source: Source, calibration: Calibration) -> None:
    """The original is the teacher, and the student what the step before wrote."""
    pruned = artefact(chain("prune/structured"), source, calibration)
    made = artefact(chain("prune/structured+distill/logits:steps=20:batch=4:soft=1.0"), source, calibration)
    student, before, teacher = (load_module(reopened(path, source)) for path in (made.path, pruned.path, source.path))
    assert student.config.intermediate_size == before.config.intermediate_size == 96
    ids = torch.from_numpy(TOKENS)
    right = teacher(ids).logits.log_softmax(-1)
    apart = [
        float((right.exp() * (right - one(ids).logits.log_softmax(-1))).sum(-1).mean()) for one in (student, before)
    ]
    assert 0 < apart[0] < apart[1], "nearer to the teacher on what it was shown"


def test_a_step_that_cannot_serve_the_model_is_named(source: Source, calibration: Calibration) -> None:
    with pytest.raises(Unfit, match=r"prune/n_m:kept=1:of=7: no layer has inputs"):
        artefact(chain("prune/depth+prune/n_m:kept=1:of=7"), source, calibration)


def test_effects_that_add_up_have_no_interaction() -> None:
    """Times and losses with known effects: 0.5 and 0.8 of the time, losses of 0.1 and 0.2, and an extra 0.3."""
    random = np.random.default_rng(0)
    noise, lost = random.lognormal(0, 0.1, 40), random.normal(0, 0.01, 40)
    apart = random.lognormal(0, 0.02, (4, 40))
    known = {
        "none": Effects(100.0, (noise * apart[0]).tolist(), [0.0] * 40),
        "one": Effects(50.0, (0.5 * noise * apart[1]).tolist(), (0.1 + lost).tolist()),
        "two": Effects(25.0, (0.8 * noise * apart[2]).tolist(), (0.2 + lost).tolist()),
        "both": Effects(12.5, (0.4 * noise * apart[3]).tolist(), (0.6 + 2 * lost).tolist()),
    }
    size, time, loss = _rows(Product("both", ("one", "two")), known, True)
    assert size[2:5] == (round(float(np.log(1 / 8)), 4), round(float(np.log(1 / 8)), 4), 0.0)
    assert time[5] < 0 < time[6] and time[2] == pytest.approx(np.log(0.4), abs=0.03)
    assert loss[4] == pytest.approx(0.3) and loss[5] == loss[6] == pytest.approx(0.3)


def test_a_report_sets_the_chain_beside_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that nobody asked for alone are made for that; a chain that distils is left out with the reason."""
    monkeypatch.setattr(text_bench, "peak_mb", lambda *_: 1.0)
    monkeypatch.setattr("weigh.compress.combine._interaction.ROUNDS", 3)
    bench = CHOICE.open(CHOICE.toy(tmp_path), 0)
    chains = [Chain(steps="prune/depth+prune/magnitude:share=0.1"), Chain(steps="prune/depth+distill/logits:steps=1")]
    options = [catalog.find(CHOICE, "none"), *chains]
    subjects = {option.spec: bench.prepare(option) for option in options}
    table = bench.exhibits(subjects)[-1]
    assert table.title == "Interactions" and {row[0] for row in table.rows} == {chains[0].spec}
    assert [row[1] for row in table.rows] == ["log size", "log time", "loss, nats a token"]
    assert table.rows[0][4] == 0.0, "zeros save nothing, together or alone"
    assert f"{chains[1].spec} is left out: a distill step teaches" in table.note
    assert interactions(bench, {"none": subjects["none"]}) == []


def test_graphs_and_rows_are_combined_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX net: pruned by magnitude, then int8; sizes multiply, and right answers are counted on the same rows."""
    from weigh.compress.quantize._toy import write_toy
    from weigh.model import rows_bench

    monkeypatch.setattr(rows_bench, "peak_mb", lambda *_: 1.0)
    monkeypatch.setattr("weigh.compress.combine._interaction.ROUNDS", 3)
    bench = CHOICE.open(write_toy(tmp_path), 0)
    both = Chain(steps="prune/magnitude:share=0.2+quantize/int8_dynamic")
    subjects = {option.spec: bench.prepare(option) for option in (catalog.find(CHOICE, "none"), both)}
    table = bench.exhibits(subjects)[-1]
    size, time, lost = table.rows
    assert size[2] == size[3] < 0.0 and size[4] == 0.0
    assert (time[1], lost[1]) == ("log time", "right answers lost")
    assert -0.1 < lost[2] < 0.4 and lost[5] <= lost[4] <= lost[6]
    with pytest.raises(Unfit, match="prune/wanda: wanda changes torch modules"):
        bench.prepare(Chain(steps="prune/wanda+quantize/int8_dynamic"))
