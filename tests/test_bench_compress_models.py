"""The benchmark of compression on pretrained models: draws keep apart, answers are judged, kept and added up."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="pip install 'weigh[retrain]'")
pytest.importorskip("onnx", reason="pip install 'weigh[compress]'")
pytest.importorskip("torch", reason="pip install 'weigh[compress]'")
pytest.importorskip("transformers", reason="pip install 'weigh[language]'")

from benchmarks.compress import __main__ as command
from benchmarks.compress import encoder, language, models, rivals, shipped
from benchmarks.compress.shipped import Judged, key
from weigh.data import manual, minilm, smollm2, topics
from weigh.model import text_bench, toy


def _judged(name: str, seed: int, rule: str, size: float = 0.3, violated: bool = False) -> Judged:
    return Judged(
        key(name, seed), rule, f"chosen: {rule}", True, 0.03 if violated else 0.0, violated, size, 100, 6.0, "d",
        0.5 if seed == 0 else None,
    )  # fmt: skip


def test_outcomes_are_kept_by_draw_and_what_is_missing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, int, list[str]]] = []

    def model(name: str) -> Any:
        def played(seed: int, rules: list[str], folder: Path, known: Path):
            asked.append((name, seed, list(rules)))
            assert folder.is_dir() and known.parent == tmp_path / "models"
            yield from (_judged(name, seed, rule, violated=(name, rule) == ("b", "inc")) for rule in rules)

        return SimpleNamespace(played=played, PEERS={"inc": "inc"})

    monkeypatch.setattr(models, "MODELS", {"a": model("a"), "b": model("b")})
    monkeypatch.setattr(rivals, "environment", lambda rule: Path(sys.executable))
    models.kept(tmp_path).add(_judged("a", 0, "weigh"))
    outcomes = models.collect(2, folder=tmp_path)
    assert asked == [
        ("a", 0, ["inc"]),
        *((name, seed, ["weigh", "inc"]) for name, seed in (("a", 1), ("b", 0), ("b", 1))),
    ]
    assert models.collect(2, folder=tmp_path) == outcomes and len(asked) == 4
    assert not models.collect(1, end=0.0, folder=tmp_path)[4:]
    told = models.figures(outcomes)
    assert told["models"]["a"]["inc_floors_violated"] == 0 and told["models"]["b"]["inc_floors_violated"] == 2
    row = told["models"]["a"]["rules"]["weigh"]
    assert row["latency_ratio"] == 0.5 and row["chosen"] == ["chosen: weigh"] and row["draws"] == 2


def test_a_part_leaves_the_figures_of_the_others_and_violations_are_added_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def report(name: str, found: dict[str, Any]) -> None:
        (tmp_path / f"{name}.json").write_text(json.dumps({"figures": found, "commit": "whole"}))

    nets = {"rules": {"weigh": {"violated": 1}, "inc": {"violated": 9}}, "floors_violated": 1}
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "report", report)
    monkeypatch.setattr(command, "commit", lambda: "now")
    monkeypatch.setattr(command, "_models", lambda asked: {"models": {"a": {"rules": {"weigh": {"violated": 2}}}}})
    report("compress", {"false_dominance": 0.0, **nets})
    command._all(command.arguments(["--part", "models"]))
    written = json.loads((tmp_path / "compress.json").read_text())["figures"]
    assert written["floors_violated"] == 3 and written["false_dominance"] == 0.0
    assert written["commits"] == {"fronts": "whole", "rivals": "whole", "models": "now"}


def test_what_is_remembered_is_computed_once(tmp_path: Path):
    calls: list[int] = []

    def compute():
        calls.append(1)
        return np.arange(3.0)

    for _ in range(2):
        assert shipped.remembered(tmp_path / "some" / "a.npy", compute).tolist() == [0.0, 1.0, 2.0]
    assert len(calls) == 1


def test_the_two_sides_of_a_turn_share_a_number():
    seen: list[list[int]] = [[], []]

    def side(place: int, milliseconds: float):
        def turn(shared: int) -> float:
            seen[place].append(shared)
            return milliseconds

        return turn

    assert shipped.in_turns([side(0, 2.0), side(1, 3.0)], 12) == 1.5
    assert seen[0] == seen[1] and len(set(seen[0])) == 12


def test_artefacts_of_a_draw_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEIGH_CACHE", "before")
    with shipped.own_cache(tmp_path):
        assert os.environ["WEIGH_CACHE"] == str(tmp_path)
    assert os.environ["WEIGH_CACHE"] == "before"
    monkeypatch.delenv("WEIGH_CACHE")
    with shipped.own_cache(tmp_path):
        pass
    assert "WEIGH_CACHE" not in os.environ


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny language model in the place of SmolLM2, and a manual of words that it knows."""
    task = toy.write_language_toy(tmp_path / "toy")
    rows = task.data.read_text().splitlines()
    monkeypatch.setattr(smollm2, "path", lambda: task.model)
    monkeypatch.setattr(manual, "paragraphs", lambda: rows)
    sizes = {"WINDOW": 16, "CALIBRATION": 4, "JUDGED": 60, "TRUTH": 40, "OPTIONS": ("int8_weights",)}
    for name, value in sizes.items():
        monkeypatch.setattr(language, name, value)
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path / "cache"))
    return task.model


def test_what_says_the_truth_of_a_text_is_in_no_draw(small: Path, tmp_path: Path):
    draws = [language.Draw(seed, tmp_path, tmp_path / "known") for seed in (0, 1)]
    truth = {row.tobytes() for row in draws[0].truth}
    assert len(truth) == 40 and truth == {row.tobytes() for row in draws[1].truth}
    for draw in draws:
        assert len(draw.calibration.tokens) == 4 and 55 <= len(draw.judged) <= 60
        assert not truth & {row.tobytes() for row in (*draw.judged, *draw.calibration.tokens)}
    assert not np.array_equal(draws[0].judged, draws[1].judged)


def test_weigh_is_asked_about_a_language_model(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_bench, "peak_mb", lambda *asked: 1.0)
    monkeypatch.setattr(language, "timed", lambda seed: False)
    (one,) = language.played(0, ["weigh"], tmp_path, tmp_path / "known")
    assert one.rule == "weigh" and one.key == "smollm2-0.02-0" and one.latency is None
    assert 0 < one.rows <= 120 and one.cpu_seconds > 0 and not one.violated
    assert one.certified == (one.what.split(": ")[1] != "none") and 0.2 < one.size <= 1
    assert (tmp_path / "known" / "float.npy").exists()


def test_a_peers_answer_on_a_language_model_is_told(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def told_by(rule: str, script: str, lines: Any, folder: Path) -> list[dict[str, Any]]:
        asked.extend((rule, script, *lines))
        return [{"what": "8 bits", "kept_to_it": True, "drop": 0.03, "bytes": 1e5, "rows": 240, "cpu_seconds": 5.0,
                 "times": [[1.0, 2.0], [1.0, 3.0], [1.0, 3.0]]}]  # fmt: skip

    monkeypatch.setattr(rivals, "told_by", told_by)
    (one,) = language.played(0, ["inc"], tmp_path, tmp_path / "known")
    assert asked[:2] == ["inc-language", "inc_language.py"] and asked[2]["rounds"] == shipped.ROUNDS
    json.dumps(asked[2])
    with np.load(asked[2]["data"]) as arrays:
        assert arrays["judged"].shape[1] == arrays["truth"].shape[1] == 16
    assert one.violated and one.certified and one.latency == 3.0 and one.rows == 240


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The peer's script for language models, with a stand-in for the library that is not installed here."""
    library = ModuleType("neural_compressor.torch.quantization")
    library.RTNConfig = lambda **told: told  # type: ignore[attr-defined]
    library.TuningConfig = lambda **told: SimpleNamespace(**told)  # type: ignore[attr-defined]

    def autotune(net: Any, goal: Any, eval_fn: Any) -> Any:
        base = eval_fn(net)
        for bits in (1.5, 1.001):
            made = toy.random_llama(0)
            for weight in made.parameters():
                weight.mul_(bits)
            if eval_fn(made) >= base * (1 - goal.tolerable_loss):
                return made
        return made

    library.autotune = autotune  # type: ignore[attr-defined]
    for name, module in (
        ("neural_compressor", ModuleType("neural_compressor")),
        ("neural_compressor.torch", ModuleType("neural_compressor.torch")),
        ("neural_compressor.torch.quantization", library),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(rivals.HERE))
    for name in ("OMP_NUM_THREADS", "TELEMETRY_DISABLED", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "1")
    for name in ("_asked", "inc_language"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import inc_language

    yield inc_language
    for name in ("_asked", "inc_language"):
        sys.modules.pop(name, None)


def test_the_peers_script_takes_what_its_rule_does(script: Any, small: Path, tmp_path: Path):
    draw = language.Draw(0, tmp_path, tmp_path / "known")
    np.savez(tmp_path / "windows.npz", judged=draw.judged, truth=draw.truth)
    job = script.Windows(
        {"model": str(small), "floor": 0.02, "folder": str(tmp_path), "data": str(tmp_path / "windows.npz"),
         "known": str(tmp_path / "known"), "rounds": 2, "prompt_tokens": 4}
    )  # fmt: skip
    path, what = script.choose(job)
    assert path == small and what == "4 bits, groups of 32, asymmetric"
    assert job.rows == 3 * len(draw.judged) and job.place == 1
    told = job.afterwards()
    assert told["kept_to_it"] and abs(told["drop"]) < 0.02 and np.shape(told["times"]) == (2, 2)
    assert told["bytes"] == 2 * sum(weight.numel() for weight in job.made.state_dict().values())
    ours = language.loglik(job.net, draw.truth)
    assert np.allclose(np.load(tmp_path / "known" / "inc-float.npy"), ours, atol=1e-4)


@pytest.mark.skipif(not (minilm.installed() and topics.installed()), reason="needs MiniLM and its texts")
def test_texts_that_calibrate_say_no_truth(tmp_path: Path):
    draw = encoder.Draw(0, tmp_path, tmp_path / "known")
    calibrating, judged, truth = (
        {row.tobytes() for row in ids}
        for ids in (draw.calibration.tokens, draw.judged.feeds["input_ids"], draw.truth.feeds["input_ids"])
    )
    assert len(calibrating) == encoder.CALIBRATION and not calibrating & truth
    assert judged < truth and len(draw.judged) <= encoder.JUDGED < len(draw.truth)


@pytest.mark.skipif(not (minilm.installed() and topics.installed()), reason="needs MiniLM and its texts")
def test_what_a_peer_ships_of_an_encoder_is_judged_by_its_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw = encoder.Draw(1, tmp_path, tmp_path / "known")
    labels = np.asarray(draw._every.labels).astype(str)
    right = (labels[:, None] == np.unique(labels)).astype(np.float32)
    wrong = np.where(np.arange(len(labels))[:, None] % 10 == 0, np.roll(right, 1, axis=1), right)
    given = {"float.onnx": right, "small.onnx": wrong}

    class Session:
        def __init__(self, path: Path, *more: Any) -> None:
            self.answer = lambda feed: given[path.name]

    for name in given:
        (tmp_path / name).write_text(name)
    told = {"chosen": str(tmp_path / "small.onnx"), "what": "configuration 1", "rows": 1600, "cpu_seconds": 9.0}
    monkeypatch.setattr(encoder, "Session", Session)
    monkeypatch.setattr(encoder, "exported", lambda: tmp_path / "float.onnx")
    monkeypatch.setattr(rivals, "told_by", lambda *asked: [told])
    one = draw.by_peer()
    assert one.violated and one.drop == pytest.approx((draw._true % 10 == 0).mean(), abs=1e-6)
    assert one.certified and one.size == 1.0 and one.latency is None
