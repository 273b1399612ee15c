"""Training gives the same weights for the same seed, goes on where it was killed, and says when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weigh.choice import Unfit, UsageError
from weigh.model import language, training
from weigh.model.distilling import Aim, distil, divergence
from weigh.model.students import evenly, narrower, shallower
from weigh.model.toy import drawn, random_llama
from weigh.model.training import Plan, train

PLAN = Plan(steps=8, batch=4, rate=1e-3)


@pytest.fixture(scope="module")
def teacher() -> Any:
    torch.set_num_threads(1)
    return random_llama(0, 3)


@pytest.fixture(scope="module")
def windows(teacher: Any) -> np.ndarray:
    return drawn(teacher, 0, count=24, length=16)


def student(teacher: Any) -> Any:
    return shallower(teacher, (0, 2))


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_seed_says_which_weights_come_out(teacher: Any, windows: np.ndarray):
    one, again, other = (
        distil(teacher, student(teacher), windows, Plan(steps=8, batch=4, rate=1e-3, seed=seed)).student
        for seed in (0, 0, 1)
    )
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
def test_training_lowers_the_loss_and_leaves_the_teacher(teacher: Any, windows: np.ndarray, numbers: Any):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    made = distil(teacher, student(teacher), windows, Plan(steps=30, batch=4, rate=1e-3, numbers=numbers))
    assert made.losses[-1] < 0.8 * made.losses[0]
    assert made.asked == {"rows": 120, "tokens": 120 * 16}
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any(weight.requires_grad for weight in made.student.parameters())
    assert {weight.dtype for weight in made.student.parameters()} == {torch.float32}


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(
    teacher: Any, windows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = distil(teacher, student(teacher), windows, PLAN)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    kept, steps = tmp_path / "training" / "run.pt", []

    def kill(step: int, _: float) -> None:
        steps.append(step)
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(teacher, student(teacher), windows, PLAN, progress=kill, checkpoint=kept)
    rest: list[int] = []
    made = distil(teacher, student(teacher), windows, PLAN, progress=lambda step, _: rest.append(step), checkpoint=kept)
    assert (steps, rest) == ([1, 2, 3, 4, 5], [5, 6, 7, 8]), "the fifth step was not kept before the kill"
    assert same(made.student, whole.student) and made.losses == whole.losses
    assert made.asked == whole.asked, "what was asked before the kill counts once"
    assert not kept.exists()


def test_a_checkpoint_of_another_plan_is_not_taken_up(
    teacher: Any, windows: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def kill(step: int, _: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(teacher, student(teacher), windows, PLAN, progress=kill, checkpoint=tmp_path / "run.pt")
    other = Plan(steps=4, batch=4, seed=9)
    made = distil(teacher, student(teacher), windows, other, checkpoint=tmp_path / "run.pt")
    assert same(made.student, distil(teacher, student(teacher), windows, other).student)


def test_nothing_to_train_on_is_said(teacher: Any, windows: np.ndarray):
    with pytest.raises(UsageError, match="calibration set is empty"):
        distil(teacher, student(teacher), windows[:0], PLAN)


def test_a_loss_that_is_no_number_is_said():
    net = torch.nn.Linear(2, 1)
    with pytest.raises(Unfit, match=r"the loss is nan at step 1; take a smaller rate than 0\.5"):
        train(net, lambda places, step: net.weight.sum() * float("nan"), 4, Plan(steps=3, rate=0.5))


def test_vocabularies_of_two_sizes_are_refused(teacher: Any, windows: np.ndarray):
    with pytest.raises(UsageError, match="the teacher knows 256 tokens and the student 300"):
        distil(teacher, random_llama(0, 1, vocab_size=300), windows, PLAN)


def test_divergence_is_that_of_kullback_and_leibler():
    random = torch.Generator().manual_seed(0)
    mine, right = torch.randn(4, 7, generator=random), torch.randn(4, 7, generator=random)
    p, q = ((one / 2).softmax(-1) for one in (right, mine))
    expected = 4 * (p * (p / q).log()).sum(-1).mean()
    assert float(divergence(mine, right, 2.0)) == pytest.approx(float(expected), rel=1e-5)
    assert float(divergence(right, right, 2.0)) == pytest.approx(0, abs=1e-6)


def test_a_shallower_net_is_the_layers_that_were_kept(teacher: Any, windows: np.ndarray):
    small = shallower(teacher, (0, 2))
    skipped = random_llama(0, 3)
    middle = skipped.model.layers[1]
    middle.self_attn.o_proj.weight.zero_()
    middle.mlp.down_proj.weight.zero_()
    ids = torch.from_numpy(windows[:4])
    assert torch.allclose(small(ids).logits, skipped(ids).logits, atol=1e-5), "a block that adds nothing is none"
    assert small.config.num_hidden_layers == 2 and len(teacher.model.layers) == 3
    written = language.write(small, windows[0], 6).tokens
    plain = torch.from_numpy(windows[:1])
    for _ in range(6):
        plain = torch.cat([plain, small(plain, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    assert written == plain[0, -6:].tolist(), "the cache knows the layers by their new numbers"


def test_neurons_that_do_nothing_are_the_first_to_go(windows: np.ndarray):
    net = random_llama(0, 2)
    for block in net.model.layers:
        block.mlp.down_proj.weight[:, ::2] = 0
    ids = torch.from_numpy(windows[:4])
    small = narrower(net, 0.5)
    assert small.config.intermediate_size == 64
    assert torch.allclose(small(ids).logits, net(ids).logits, atol=1e-5)
    assert same(narrower(net, 1.0), net)


@pytest.mark.parametrize("kept", [0, 4])
def test_a_student_has_some_layers_and_no_more_than_its_teacher(kept: int):
    with pytest.raises(Unfit, match="cannot be made of a teacher of 3: type layers=1 to 3"):
        evenly(3, kept)


def test_without_a_teacher_it_is_not_asked(teacher: Any, windows: np.ndarray):
    assert distil(teacher, student(teacher), windows, PLAN, Aim(soft=0.0)).asked == {"rows": 0, "tokens": 0}
