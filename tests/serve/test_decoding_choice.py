"""serve/decoding as a choice: prompts, drafts, refusals, what is measured and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weigh import catalog, decide
from weigh.choice import Block, Curves, Table, Unfit, UsageError
from weigh.engine.inline import InlineEngine
from weigh.model.source import open_source
from weigh.model.toy import random_llama, save_llama
from weigh.serve.decoding import Decoder, Decoding, DecodingTask
from weigh.serve.decoding._bench import DecodingBench, NotIdentical
from weigh.serve.decoding._draft import make_draft
from weigh.serve.decoding._expected import expected_speedup
from weigh.serve.decoding._planted import Forgetful
from weigh.serve.decoding._prompts import prompts_and_study


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> DecodingTask:
    return Decoding().toy(tmp_path_factory.mktemp("toy")).model_copy(update={"rounds": 4})


@pytest.fixture
def bench(task: DecodingTask) -> DecodingBench:
    return DecodingBench(task, 0)


def option(spec: str) -> Decoder:
    return catalog.find(Decoding(), spec)  # type: ignore[return-value]


def test_an_answer_that_is_not_greedy_fails_with_its_place(bench: DecodingBench) -> None:
    subject = bench.prepare(Forgetful())
    with pytest.raises(NotIdentical, match=r"its token 1 is \d+ and not \d+, where the scores .* apart"):
        bench.trial(subject, Block(index=0, seed=0))


def test_in_bfloat16_the_first_difference_is_told(task: DecodingTask) -> None:
    bench = DecodingBench(task.model_copy(update={"dtype": "bfloat16"}), 0)
    subject = bench.prepare(Forgetful())
    assert bench.trial(subject, Block(index=0, seed=0))["identical"] == [0.0]
    shown = bench.exhibits({"forgetful": subject, "dynamic_cache": bench.prepare(option("dynamic_cache"))})
    assert isinstance(shown[-1], Table) and shown[-1].rows[0][:3] == ("forgetful", 1, 1)


def test_what_is_measured(bench: DecodingBench) -> None:
    values = bench.trial(bench.prepare(option("speculative:steps=0,layers=1")), Block(index=1, seed=0))
    assert values["identical"] == [1.0]
    assert 0 <= values["acceptance"][0] <= 1  # type: ignore[index]
    assert values["kv_bytes"] > 512  # type: ignore[operator]


@pytest.mark.slow
def test_memory_counts_what_is_held_beside_the_model_once(bench: DecodingBench) -> None:
    plain, packed, drafted, early = (
        bench.prepare(option(spec)).memory
        for spec in (
            "dynamic_cache",
            "static_cache:compiled=true",
            "speculative:steps=0,layers=1",
            "self_speculation:layers=1",
        )
    )
    joined = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")  # float32 numbers, which are no narrower ones
    sizes = {name: weight.numel() for name, weight in bench.served.module.named_parameters()}
    one = sum(size for name, size in sizes.items() if ".1." not in name)
    assert packed - plain > 4 * sum(size for name, size in sizes.items() if any(part in name for part in joined))
    assert drafted - plain > 4 * one
    assert early < plain + 4 * one / 2


def test_a_race_keeps_what_is_exact_and_fails_what_is_not(task: DecodingTask, tmp_path: Path) -> None:
    found = decide(
        "serve/decoding", task, options=["dynamic_cache", Forgetful()], ledger=tmp_path / "l.db", records=None,
        engine=InlineEngine(),
    )  # fmt: skip
    assert found.standing("forgetful").outcome == "failed" and "NotIdentical" in found.standing("forgetful").why
    assert found.standing("dynamic_cache").measured["identical"].estimate == 1.0


def test_exhibits_show_growth_caches_and_speculation(bench: DecodingBench) -> None:
    names = ("no_cache", "dynamic_cache", "prompt_lookup", "self_speculation:layers=1")
    growth, caches, speculation = bench.exhibits({name: bench.prepare(option(name)) for name in names})
    assert isinstance(growth, Curves) and {line.name for line in growth.lines} == set(names)
    assert isinstance(caches, Table) and "= 512 bytes" in caches.note and caches.rows[1][1] == 512.0
    assert isinstance(speculation, Table) and [row[0] for row in speculation.rows] == list(names[2:])
    for _, accepted, ahead, cost, test, tokens, gain in speculation.rows:
        assert 0 <= float(accepted) <= 1 <= float(tokens) and float(cost) >= 0 and float(test) > 0
        told = [
            expected_speedup(float(accepted) + one, int(ahead), max(float(cost) - other, 0.0))
            for one, other in ((-5e-4, -5e-4), (5e-4, 5e-4))
        ]
        assert told[0] - 0.005 <= float(gain) <= told[1] + 0.005


@pytest.mark.slow
def test_a_draft_that_was_taught_is_right_more_often(tmp_path: Path) -> None:
    import torch

    net = random_llama(3, layers=4)
    for block in net.model.layers:  # what comes next depends on the last token for the most part
        block.self_attn.o_proj.weight.mul_(0.1)
    source = open_source(save_llama(net, tmp_path / "model"))
    text = torch.randint(3, 256, (64, 24), generator=torch.Generator().manual_seed(0)).numpy()
    drafts = [make_draft(source, text, tmp_path / f"draft{steps}", steps, layers=1) for steps in (0, 100)]
    words = " ".join(f"w{place}" for place in torch.randint(3, 256, (800,)).tolist())
    (tmp_path / "text.txt").write_text(words)
    task = DecodingTask(model=source.path, prompts=tmp_path / "text.txt", prompt_tokens=10, new_tokens=20, rounds=10)
    bench, shares = DecodingBench(task, 0), []
    for draft in drafts:
        subject = bench.prepare(option(f"speculative:draft={draft}"))
        trials = [bench.trial(subject, Block(index=place, seed=0)) for place in range(10)]
        shares.append(sum(one["acceptance"][0] for one in trials) / 10)  # type: ignore[index]
    told = json.loads((drafts[1] / "draft.json").read_text())
    assert told["layers"] == [0] and len(told["losses"]) == 100 and told["losses"][-1] < told["losses"][0]
    assert shares[1] > shares[0] + 0.05


def test_a_draft_of_other_words_is_refused(bench: DecodingBench, tmp_path: Path) -> None:
    other = save_llama(random_llama(0, layers=1), tmp_path / "draft")
    words = json.loads((other / "tokenizer.json").read_text())
    names = list(words["model"]["vocab"])
    words["model"]["vocab"] = {name: place for place, name in enumerate([*names[:3], *reversed(names[3:])])}
    (other / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(Unfit, match="its guesses mean other words"):
        bench.prepare(option(f"speculative:draft={other}"))
    with pytest.raises(Unfit, match=r"the draft cannot be used.*there is no such file"):
        bench.prepare(option(f"speculative:draft={tmp_path / 'nothing'}"))


def test_a_draft_of_another_vocabulary_is_refused(bench: DecodingBench, tmp_path: Path) -> None:
    other = save_llama(random_llama(0, layers=1, vocab_size=300), tmp_path / "draft")
    with pytest.raises(Unfit, match="the draft knows 300 tokens and the model 256"):
        bench.prepare(option(f"speculative:draft={other}"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("self_speculation:layers=2", "is the whole model"),
        ("quantized_cache:group=7", "groups of 7 do not divide"),
        ("speculative:layers=9", "a student of 9 layers"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_unfit(bench: DecodingBench, spec: str, says: str) -> None:
    with pytest.raises(Unfit, match=says):
        bench.prepare(option(spec))


def test_the_compiled_step_is_for_llamas(bench: DecodingBench) -> None:
    bench.served.module.config.attention_bias = True
    with pytest.raises(Unfit, match="knows no biases"):
        bench.prepare(option("static_cache:compiled=true"))


def test_lookup_sizes_are_in_order() -> None:
    with pytest.raises(UsageError, match="type longest=4"):
        option("prompt_lookup:longest=2,shortest=4")


class Letters:
    """A tokenizer of characters."""

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


def test_prompts_and_what_a_draft_learns_on_share_no_text(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a" * 1000 + "b" * 1000)
    found, study = prompts_and_study(file, Letters(), 10, 50)
    assert len(found) == 100 and {token for row in found for token in row} == {ord("b")}
    assert set(study.flatten().tolist()) == {ord("a")}
    with pytest.raises(UsageError, match=r"gives 100 prompts of 10 tokens .* 101 are wanted"):
        prompts_and_study(file, Letters(), 10, 101)


def test_prompts_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text('{"prompt": "abc"}\n{"prompt": "defgh"}\n')
    assert prompts_and_study(file, Letters(), 4, 2)[0] == [[97, 98, 99], [101, 102, 103, 104]]
    with pytest.raises(UsageError, match="has 2 prompts, 3 are wanted"):
        prompts_and_study(file, Letters(), 4, 3)
    for line, says in (('{"text": "a"}', "line 1: not a line of the form"), ('{"prompt": ""}', "the prompt is empty")):
        file.write_text(line)
        with pytest.raises(UsageError, match=says):
            prompts_and_study(file, Letters(), 4, 1)


def test_models_that_write_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        DecodingBench(DecodingTask(model=tmp_path / "nothing"), 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"without config\.json"):
        DecodingBench(DecodingTask(model=tmp_path / "empty"), 0)
