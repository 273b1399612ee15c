"""A language model at work: what is said of a text against other code, and which windows judge."""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np
import pytest
import torch

from weigh.choice import Block, UsageError
from weigh.model import language
from weigh.model.module import load_module, save_module
from weigh.model.source import Source, open_source
from weigh.model.task import Calibration, Converter, ModelTask
from weigh.model.text import prompts, windows
from weigh.model.text_bench import TextBench, cut, split_windows
from weigh.model.toy import write_language_toy


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ModelTask:
    return write_language_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def bench(task: ModelTask, tmp_path_factory: pytest.TempPathFactory) -> TextBench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return TextBench(task, seed=0)


@final
class Same(Converter):
    """The model itself. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return source.path


@final
class Blunt(Converter):
    """The model with its head halved. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        net = load_module(source)
        net.lm_head.weight.mul_(0.5)
        return save_module(net, source, folder)


def test_log_likelihoods_are_those_of_cross_entropy(bench: TextBench):
    ids = bench._windows[:3]
    told = language.read(bench.original, ids)
    logits = bench.original(input_ids=torch.from_numpy(ids)).logits
    entropy = torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), torch.from_numpy(ids)[:, 1:], reduction="none"
    )
    skipped = ids.shape[1] // 4
    np.testing.assert_allclose(told.loglik, -entropy[:, skipped - 1 :].numpy(), atol=1e-5)
    np.testing.assert_array_equal(told.right, ids[:, skipped:])
    np.testing.assert_array_equal(told.best, logits[:, skipped - 1 : -1].argmax(2).numpy())


def test_greedy_writing_is_that_of_generate(bench: TextBench):
    for prompt in bench._windows[:5, :6]:
        theirs = bench.original.generate(
            torch.from_numpy(prompt)[None], max_new_tokens=9, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        request = language.write(bench.original, prompt, 9)
        assert request.tokens == theirs[0, 6:].tolist()
        assert len(request.steps) == 8 and min(request.first, *request.steps) > 0


def test_a_trial_pairs_with_the_original_on_windows_that_every_option_sees(
    bench: TextBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    block = Block(index=2, seed=5)
    same, blunt = bench.prepare(Same()), bench.prepare(Blunt())
    plain, other = bench.trial(same, block), bench.trial(blunt, block)
    assert plain["drop"] == [0, 0] and plain["agreement"] == [1, 1] and plain["size"] == other["size"]
    ids = bench._windows[4:6]
    lost = (language.read(bench.original, ids).loglik - language.read(blunt.module, ids).loglik).mean(1)
    np.testing.assert_allclose(other["drop"], np.clip(lost, -bench.task.clip, bench.task.clip))
    assert other["agreement"] == [1, 1] and other["accuracy"] == plain["accuracy"]
    assert 100 < float(plain["memory"]) < 2000  # type: ignore[arg-type]
    assert len(bench.exhibits({"same": same, "blunt": blunt})) == 3


def test_the_text_is_what_the_model_says_so_that_damage_costs(
    bench: TextBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    blunt = bench.prepare(Blunt())
    lost = [value for index in range(20) for value in bench.trial(blunt, Block(index=index, seed=index))["drop"]]  # type: ignore[union-attr]
    assert np.mean(lost) > 0.1


def test_windows_that_calibrate_judge_nothing(task: ModelTask, bench: TextBench):
    calibration, judged = split_windows(task, bench.tokenizer)
    assert calibration.tokens.shape == (40, 32)
    seen = {row.tobytes() for row in calibration.tokens}
    assert not seen & {row.tobytes() for row in judged} and len(judged) + 40 == len(
        windows(task.data, bench.tokenizer, 32)
    )
    with pytest.raises(ValueError, match="read-only"):
        calibration.tokens[0, 0] = 1
    blocks = cut(len(judged), task)
    assert (blocks.race + blocks.fresh) * task.windows <= len(judged) and blocks.fresh >= 10


def test_a_text_that_cannot_judge_is_refused(task: ModelTask, bench: TextBench, tmp_path: Path):
    def refused(**changed: object) -> str:
        with pytest.raises(UsageError) as error:
            TextBench(task.model_copy(update=changed), seed=0)
        return str(error.value)

    (tmp_path / "empty.txt").write_text("  \n")
    (tmp_path / "short.txt").write_text("w7 w8 w9")
    (tmp_path / "latin.txt").write_bytes("w7 é".encode("latin-1"))
    (tmp_path / "rows.npz").touch()
    assert "is empty; give a text" in refused(data=tmp_path / "empty.txt")
    assert "has 3 tokens, fewer than one window of 32" in refused(data=tmp_path / "short.txt")
    assert "is no UTF-8 text" in refused(data=tmp_path / "latin.txt")
    assert "is a table, and a language model is judged on a text" in refused(data=tmp_path / "rows.npz")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    assert "is a table, and a language model is judged on a text" in refused(data=tmp_path / "rows.csv")
    said = refused(calibration_rows=390)
    assert "has 399 windows of 32 tokens; 390 of them for calibration leave 9 to judge on" in said
    assert "40 are the fewest: give a text of 13,760 tokens or more, or leave more of it: calibration_rows=" in said
    TextBench(task.model_copy(update={"calibration_rows": int(said.rpartition("=")[2])}), seed=0)
    with pytest.raises(UsageError, match="distinct prompts of 32 tokens, not 500"):
        prompts(task.data, bench.tokenizer, 32, 500)


def test_the_same_files_are_the_same_task_and_another_weight_is_another(task: ModelTask, tmp_path: Path):
    import shutil

    copy = Path(shutil.copytree(task.model, tmp_path / "model"))
    again = task.model_copy(update={"model": copy})
    assert again.fingerprint() == task.fingerprint()
    (copy / "generation_config.json").write_text("{}")
    assert again.fingerprint() != task.fingerprint()
    assert open_source(copy).digest != open_source(task.model).digest
