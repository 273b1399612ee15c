"""What a report shows: how time grows with the answer, what a cache costs, how guesses fare, where answers part."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from weigh.choice import Curves, Exhibit, Line, Table
from weigh.serve._threads import inferring
from weigh.serve.decoding._expected import expected_speedup, kv_bytes_per_token
from weigh.serve.decoding._greedy import Drafting, Speculative

if TYPE_CHECKING:
    from weigh.serve.decoding._bench import Answer, DecodingBench, Subject

ROUNDS, REPEATS, POINTS = 3, 5, 12


def exhibits(bench: DecodingBench, subjects: Mapping[str, Subject]) -> list[Exhibit]:
    """Curves of time, and tables of caches, of speculation and of differences."""
    if not subjects:
        return []
    from weigh.serve.decoding._bench import answer

    mixer, names = random.Random(0), list(subjects)
    made: dict[str, list[Answer]] = {name: [] for name in names}
    with inferring(bench.task.threads):
        for place in range(ROUNDS):
            for name in mixer.sample(names, len(names)):
                prompt = bench.prompts[1 + place % (len(bench.prompts) - 1)]
                made[name].append(answer(subjects[name].session, prompt, bench.task.new_tokens))
        guessing = _speculation(bench, subjects, made)
    shown: list[Exhibit] = [_growth(made), _caches(bench, subjects)]
    return shown + ([guessing] if guessing.rows else []) + _differences(bench, subjects)


def _growth(made: Mapping[str, list[Answer]]) -> Curves:
    lines = []
    for name, answers in made.items():
        whole = len(answers[0].times)
        places = sorted({round((whole - 1) * part / POINTS) for part in range(POINTS + 1)})
        taken = tuple(statistics.median(one.times[place] for one in answers) * 1e3 for place in places)
        lines.append(Line(name=name, x=tuple(place + 1 for place in places), y=taken))
    return Curves(
        title="Time until so many tokens are written", x="tokens", y="ms", lines=tuple(lines),
        note=f"Median of {ROUNDS} answers. With a cache each token takes as long as the last; without, ever longer.",
    )  # fmt: skip


def _caches(bench: DecodingBench, subjects: Mapping[str, Subject]) -> Table:
    told = kv_bytes_per_token(bench.served.module.config, bench.served.module.dtype.itemsize)
    return Table(
        title="Keys and values",
        columns=("option", "bytes a token", "memory, MB"),
        rows=tuple((name, round(one.kv_bytes, 1), one.memory / 1e6) for name, one in subjects.items()),
        note=f"2 x layers x kv_heads x head_dim x bytes = {told:,} bytes a token; a static cache holds its whole room, "
        "a speculative one also its draft's.",
    )


def _speculation(bench: DecodingBench, subjects: Mapping[str, Subject], made: Mapping[str, list[Answer]]) -> Table:
    rows = []
    for name, subject in subjects.items():
        session = subject.session
        if not isinstance(session, Speculative):
            continue
        tested, taken, steps = (sum(getattr(one, of) for one in made[name]) for of in ("tested", "taken", "steps"))
        share = taken / tested if tested else 0.0
        one, cost, many = costs(session, bench.prompts[1])
        tokens = sum(len(one.tokens) for one in made[name])
        expected = expected_speedup(share, session.ahead, cost / one)
        rows.append((name, round(share, 3), session.ahead, round(cost / one, 3), round(many / one, 3),
                     round(tokens / steps, 2), round(expected, 2)))  # fmt: skip
    return Table(
        title="Speculation",
        columns=(
            "option",
            "acceptance a",
            "ahead g",
            "draft cost c",
            "cost of a test",
            "tokens a pass",
            "expected gain",
        ),
        rows=tuple(rows),
        note="Costs are shares of one step of the model. Expected (Leviathan et al., arXiv 2211.17192): "
        "(1 - a^(g+1)) / ((1 - a)(g c + 1)), which takes a test of g + 1 tokens to cost as much as a step, and each "
        "token to be taken with the same chance.",
    )


def costs(session: Speculative, prompt: list[int]) -> tuple[float, float, float]:
    """Seconds of one step of the model, of one guess, and of a test of `ahead` + 1 tokens; medians."""
    runner, proposer = session.runner, session.proposer
    runner.read(prompt)
    one = _median(lambda: runner.feed(prompt[:1]), lambda: runner.keep(len(prompt)))
    many = _median(lambda: runner.feed((prompt * session.ahead)[: session.ahead + 1]), lambda: runner.keep(len(prompt)))
    if isinstance(proposer, Drafting):
        draft = proposer.draft
        draft.read(prompt)
        return one, _median(lambda: draft.feed(prompt[:1]), lambda: draft.keep(len(prompt))), many
    proposer.begin(prompt)
    return one, _median(lambda: proposer.propose(prompt, session.ahead), lambda: None) / session.ahead, many


def _median(call: object, undo: object) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()  # type: ignore[operator]
        taken.append(time.perf_counter() - start)
        undo()  # type: ignore[operator]
    return statistics.median(taken)


def _differences(bench: DecodingBench, subjects: Mapping[str, Subject]) -> list[Exhibit]:
    rows = [
        (name, len(one.first), min(one.first.values()) + 1, statistics.median(one.first.values()) + 1)
        for name, one in subjects.items()
        if one.first
    ]
    if not rows:
        return []
    return [
        Table(
            title="Where answers part from plain greedy decoding",
            columns=("option", "answers that differ", "earliest token", "median token"),
            rows=tuple(rows),
            note=f"Of the answers that this process measured, in {bench.task.dtype}.",
        )
    ]
