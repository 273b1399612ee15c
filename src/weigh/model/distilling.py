"""Training a student on what a teacher says: next-token scores, hidden states, sentence vectors, scores of classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from weigh.choice import Unfit, UsageError
from weigh.model.training import Plan, Progress, train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Match: TypeAlias = Literal["cosine", "mse"]
SHARPNESS = 20.0
"""What cosines are multiplied by before the softmax over the sentences of a batch."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What the student is to do as the teacher does.

    Attributes:
        soft: share of the loss that is the divergence from the teacher's distribution, KL(teacher || student) at
            `temperature`, times its square; the rest is cross entropy with the text (or the labels). 0: no teacher.
        temperature: what scores are divided by before the softmax.
        hidden: weight of the distance between hidden states, added to the loss; 0: they are not looked at.
        match: that distance: 1 - cosine, or the squared difference as a share of the teacher's squares.
        pairs: (student's, teacher's) numbers of hidden states, 0 being the embeddings; the last of both when empty.
    """

    soft: float = 0.5
    temperature: float = 2.0
    hidden: float = 0.0
    match: Match = "cosine"
    pairs: tuple[tuple[int, int], ...] = ()


PLAN, AIM = Plan(), Aim()


@dataclass(frozen=True, slots=True)
class Distilled:
    """A trained student, the loss of each step, and what its teacher was asked: `rows`, and `tokens` in them."""

    student: Any
    losses: list[float]
    asked: Mapping[str, int]


def distil(
    teacher: Any,
    student: Any,
    feeds: NDArray[np.int64] | Mapping[str, NDArray[Any]],
    plan: Plan = PLAN,
    aim: Aim = AIM,
    labels: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Distilled:
    """Train a student in place to say what its teacher says.

    Args:
        teacher: a `torch.nn.Module`, which is left as it is, and not asked where `aim` wants nothing of it.
        student: a `torch.nn.Module` of the same inputs and outputs.
        feeds: token windows of a language model, shape (windows, tokens), int64; or input name -> rows.
        labels: of rows, 0 to classes - 1, where cross entropy is part of a classifier's loss.
        progress, checkpoint: see `weigh.model.training.train`.

    Raises:
        UsageError: no rows, or vocabularies of two sizes.
        Unfit: what is aimed at does not exist in these models, or the loss diverged.

    Source: Hinton et al., Distilling the knowledge in a neural network (arXiv 1503.02531).
    """
    import torch

    need_same_words(teacher, student)
    given = feeds if isinstance(feeds, Mapping) else {"input_ids": feeds}
    rows = {name: torch.from_numpy(values.copy()) for name, values in given.items()}
    truth = None if labels is None else torch.from_numpy(labels.copy())
    asked = {"rows": 0, "tokens": 0}

    def loss(places: NDArray[np.intp], step: int) -> Any:
        where = torch.from_numpy(places)
        some = {name: values[where] for name, values in rows.items()}
        return lesson(teacher, student, some, aim, None if truth is None else truth[where])

    with counting(teacher, asked):
        losses = train(student, loss, len(next(iter(given.values()))), plan, progress, checkpoint, asked)
    return Distilled(student, losses, asked)


def lesson(teacher: Any, student: Any, some: Mapping[str, Any], aim: Aim, labels: Any = None) -> Any:
    """The loss of a batch; the teacher is asked where `aim` wants something of it."""
    import torch

    theirs = None
    if aim.soft or aim.hidden:
        with torch.no_grad():
            theirs = answer(teacher, some, aim)
    return loss_of(answer(student, some, aim), theirs, some, aim, labels)


@contextmanager
def counting(teacher: Any, asked: dict[str, int]) -> Iterator[None]:
    """Count the rows that a net reads, and the tokens in them, while the block runs."""

    def count(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = kwargs.get("input_ids", args[0] if args else next(iter(kwargs.values()), None))
        asked["rows"] += len(first)  # type: ignore[arg-type]
        asked["tokens"] += kwargs["input_ids"].numel() if "input_ids" in kwargs else 0

    hook = teacher.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def need_same_words(teacher: Any, student: Any) -> None:
    """Raises `UsageError` when two language models do not number the same count of tokens."""
    sizes = [getattr(getattr(net, "config", None), "vocab_size", None) for net in (teacher, student)]
    if sizes[0] != sizes[1]:
        raise UsageError(
            f"the teacher knows {sizes[0]} tokens and the student {sizes[1]}: a student learns from scores of the same "
            "tokens; give one of the same tokenizer and vocabulary"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a net said: scores (rows, classes) or (rows, tokens, words), or sentence vectors; and its hidden states."""

    scores: Any
    vectors: Any
    hidden: tuple[Any, ...]


def answer(net: Any, some: Mapping[str, Any], aim: Aim) -> Answer:
    """Ask a net; hidden states are kept where they are aimed at."""
    if "input_ids" not in some:
        if aim.hidden:
            raise Unfit(
                "hidden states are matched between transformers; of this net only scores are known: type logits"
            )
        return Answer(net(next(iter(some.values()))), None, ())
    caches = {"use_cache": False} if len(some) == 1 else {}
    out = net(**some, **caches, output_hidden_states=bool(aim.hidden))
    hidden = tuple(out.hidden_states or ()) if aim.hidden else ()
    if hasattr(out, "logits"):
        return Answer(out.logits, None, hidden)
    return Answer(None, pooled(out.last_hidden_state, some["attention_mask"]), hidden)


def pooled(hidden: Any, mask: Any) -> Any:
    """Sentence vectors of length one, shape (rows, width): the mean of the token vectors under the mask."""
    import torch

    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1).clamp(min=1), dim=1)


def loss_of(mine: Answer, theirs: Answer | None, some: Mapping[str, Any], aim: Aim, labels: Any = None) -> Any:
    """The loss of a batch: soft and hard part by `aim.soft`, and hidden states."""
    whole = 0.0
    if aim.soft and theirs is not None:
        whole = whole + aim.soft * _soft(mine, theirs, aim.temperature)
    if aim.soft < 1:
        whole = whole + (1 - aim.soft) * _hard(mine, some, labels)
    if aim.hidden and theirs is not None:
        whole = whole + aim.hidden * _apart(mine.hidden, theirs.hidden, some.get("attention_mask"), aim)
    return whole


def _soft(mine: Answer, theirs: Answer, temperature: float) -> Any:
    """T^2 KL(teacher || student) a token or a row; of sentence vectors, between likenesses within the batch."""
    if theirs.scores is None:
        return _alike(mine.vectors, theirs.vectors)
    return divergence(mine.scores, theirs.scores, temperature)


def divergence(student: Any, teacher: Any, temperature: float = 1.0) -> Any:
    """T^2 KL(teacher || student) of scores at a temperature, the mean over all but the last axis, in nats.

    Source: Hinton et al. (arXiv 1503.02531), section 2.
    """
    import torch

    mine = (student.float() / temperature).log_softmax(-1)
    right = (teacher.float() / temperature).log_softmax(-1)
    total = torch.nn.functional.kl_div(mine, right, reduction="sum", log_target=True)
    return temperature**2 * total / (mine.numel() / mine.shape[-1])


def _alike(mine: Any, theirs: Any) -> Any:
    """How far likenesses to the teacher's vectors of the batch are from the teacher's own (SEED, arXiv 2101.04731)."""
    if len(mine) < 3:
        raise Unfit("sentence vectors are compared within a batch, which takes three of them: type batch=8")
    return divergence(SHARPNESS * mine @ theirs.T, SHARPNESS * theirs @ theirs.T)


def _hard(mine: Answer, some: Mapping[str, Any], labels: Any) -> Any:
    """Cross entropy with the text's next tokens, or with the labels."""
    import torch

    if mine.scores is not None and mine.scores.dim() == 3:
        words = mine.scores.shape[-1]
        return torch.nn.functional.cross_entropy(
            mine.scores[:, :-1].reshape(-1, words).float(), some["input_ids"][:, 1:].reshape(-1)
        )
    if mine.scores is None or labels is None:
        what = "sentence vectors have no right answers" if mine.scores is None else "the rows have no labels"
        raise Unfit(
            f"cross entropy needs right answers, and {what}: learn from the teacher alone: type logits or hidden"
        )
    return torch.nn.functional.cross_entropy(mine.scores.float(), labels)


def _apart(mine: tuple[Any, ...], theirs: tuple[Any, ...], mask: Any, aim: Aim) -> Any:
    """The distance of paired hidden states, the mean over pairs and over tokens under the mask."""
    pairs = aim.pairs or ((len(mine) - 1, len(theirs) - 1),)
    if mine[-1].shape[-1] != theirs[-1].shape[-1]:
        raise Unfit(
            f"hidden states are {mine[-1].shape[-1]} wide in the student and {theirs[-1].shape[-1]} in the teacher, so "
            "they cannot be compared: take a student of the same width, or type logits"
        )
    return sum(_distance(mine[one], theirs[other], mask, aim.match) for one, other in pairs) / len(pairs)


def _distance(mine: Any, theirs: Any, mask: Any, match: Match) -> Any:
    import torch

    if match == "cosine":
        each = 1 - torch.nn.functional.cosine_similarity(mine.float(), theirs.float(), dim=-1)
    else:
        each = (mine - theirs).float().square().mean(-1) / theirs.float().square().mean(-1).clamp(min=1e-8)
    return each.mean() if mask is None else (each * mask).sum() / mask.sum().clamp(min=1)
