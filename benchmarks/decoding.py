"""The decoding that weigh chooses, against transformers' own `generate` and llama.cpp, on SmolLM2.

``make bench-decoding [ARGS="--rounds 200 --timed 40"]``: first `weigh.decide("serve/decoding", ...)` chooses among ways
of decoding SmolLM2-135M-Instruct in float32. Then, in each round, the chosen one, `generate`, llama.cpp and the other
ways answer the same prompt, one after the other in an order that is drawn, each with the same number of threads. The
first `--timed` rounds are timed: figures are medians of paired ratios of the whole time of an answer, reading the
prompt included. In all rounds each exact way must write the tokens that `generate` writes; what is not timed writes
`--few` of them. Prompts are windows of Python's own reference manual, of its second half; a draft learns on the first.
What was measured is kept under benchmarks/results, so that a killed benchmark goes on; `--again` forgets it, and
`--seconds` ends it after a while.

`generate` runs with its defaults in float32 (`speedup_vs_generate`: the same numbers, and so the same tokens), and as
transformers loads this model when nothing is said, in bfloat16 (`speedup_vs_generate_bfloat16`; its tokens differ).
llama.cpp reads the same weights from a GGUF. SmolLM2's weights are bfloat16 numbers, and the compiled step keeps them
so while it computes in float32: BF16 has the same bits a weight (`speedup_vs_llamacpp`); F32 is told beside it.

Beside each ratio of times stands that of processor seconds (`cpu_vs_...`), which other work on the machine moves less.

Targets: speedup_vs_generate >= 2 with greedy_identical = 1; speedup_vs_llamacpp >= 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import weigh.serve.decoding
from benchmarks._ask import at_least, told
from benchmarks._llama_server import LlamaServer, gguf_of
from benchmarks._result import RESULTS, report, table
from weigh import catalog, decide
from weigh.engine.inline import InlineEngine
from weigh.scale.interval import Interval
from weigh.scale.ratio import median_ratio
from weigh.serve._threads import inferring
from weigh.serve.decoding import Decoding, DecodingTask, Session
from weigh.serve.decoding._bench import DecodingBench, answer
from weigh.serve.decoding._exhibits import costs
from weigh.serve.decoding._expected import expected_speedup, kv_bytes_per_token
from weigh.serve.decoding._greedy import Speculative
from weigh.serve.decoding.generate import Generating

ALPHA = 0.05
CANDIDATES = ("dynamic_cache", "static_cache:compiled=true", "prompt_lookup:compiled=true")
OTHERS = (
    "dynamic_cache", "static_cache", "static_cache:compiled=true", "prompt_lookup", "prompt_lookup:compiled=true",
    "self_speculation:compiled=true", "speculative:compiled=true,steps=10",
)  # fmt: skip
PEERS = ("generate", "generate_bfloat16", "llamacpp_BF16", "llamacpp_F32")
INEXACT = PEERS[1:]
UNTIMED = ("dynamic_cache", "static_cache", "prompt_lookup")
FOLDER = RESULTS / ".decoding"


def task(rounds: int, threads: int, prompt_tokens: int = 32, new_tokens: int = 24) -> DecodingTask:
    """SmolLM2, asked about Python's manual."""
    from weigh.data import smollm2

    return DecodingTask(
        model=smollm2.path(), prompt_tokens=prompt_tokens, new_tokens=new_tokens, threads=threads, rounds=rounds
    )


def chosen(folder: Path, threads: int) -> str:
    """What weigh chooses, on short answers; found once, and kept in its ledger."""
    found = decide(
        "serve/decoding", task(30, threads, 16, 8), options=list(CANDIDATES), ledger=folder / "ledger.db", records=None,
        engine=InlineEngine(),
    )  # fmt: skip
    print(found.answer, flush=True)
    if found.chosen is None:
        raise SystemExit(f"weigh chose nothing: {found.answer}")
    return found.chosen


class Rounds:
    """Everything that answers, and what it answered.

    Args:
        rounds: how many there will be.
        best: spec of the chosen option.
        folder: where the GGUF files and the rows are kept.
    """

    def __init__(self, rounds: int, threads: int, best: str, folder: Path) -> None:
        self.bench = DecodingBench(task(rounds, threads), 0)
        self.names = [*dict.fromkeys((*PEERS, best, *OTHERS))]
        self.untimed = set(UNTIMED) - {best}
        self.threads, self.folder = threads, folder
        self.sessions: dict[str, Session] = {}
        for name in self.names:
            with inferring(threads):
                self.sessions[name] = self._session(name)
                answer(self.sessions[name], self.bench.prompts[0], self.bench.task.new_tokens)

    def _session(self, name: str) -> Session:
        from weigh.model.module import load_module

        source = self.bench.served.source
        if name.startswith("llamacpp_"):
            return LlamaServer(gguf_of(source, name.partition("_")[2], self.folder), self.threads)
        if name == "generate_bfloat16":
            module = load_module(source, "bfloat16")
            module.generation_config = self.bench.served.module.generation_config
            return Generating(module)
        return catalog.find(Decoding(), name).open(self.bench.served)  # type: ignore[attr-defined, no-any-return]

    def round(self, place: int, timed: bool, few: int) -> dict[str, Any]:
        """One prompt: by name, seconds and guesses of an answer, and how many tokens are those of `generate`."""
        prompt, whole = self.bench.prompts[place + 1], self.bench.task.new_tokens
        names = [name for name in self.names if timed or name not in INEXACT]
        found = {}
        for name in random.Random(place).sample(names, len(names)):
            count = whole if timed and name not in self.untimed else few
            with inferring(self.threads):
                start = time.process_time()
                found[name] = answer(self.sessions[name], prompt, count), time.process_time() - start
        truth = found["generate"][0].tokens
        return {
            name: {
                "seconds": one.times[-1], "cpu": cpu, "first": one.times[0], "tokens": len(one.tokens),
                "tested": one.tested, "taken": one.taken, "steps": one.steps,
                "same": next((i for i, (a, b) in enumerate(zip(one.tokens, truth)) if a != b), len(one.tokens)),
            }
            for name, (one, cpu) in found.items()
        }  # fmt: skip


class Kept:
    """Rounds on disk, one a line; those of other code do not count."""

    def __init__(self, folder: Path, threads: int) -> None:
        files = sorted(Path(weigh.serve.decoding.__path__[0]).glob("*.py"))
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in (Path(__file__), *files))).hexdigest()
        self.path = folder / f"{digest[:16]}-{threads}.jsonl"

    def load(self) -> list[dict[str, Any]]:
        """What is there; a line that was cut off is measured again."""
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}\n")]

    def add(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def measured(rounds: Rounds, asked: argparse.Namespace, kept: Kept, end: float) -> list[dict[str, Any]]:
    """All rounds: what is kept, and the rest, until the time is over."""
    known = kept.load()
    for place in range(len(known), asked.rounds):
        if time.monotonic() > end:
            break
        known.append(rounds.round(place, place < asked.timed, asked.few))
        kept.add(known[-1])
    return known


def ratio(rows: Sequence[Mapping[str, Any]], slow: str, fast: str, whole: int, of: str = "seconds") -> Interval:
    """How many times longer `slow` takes than `fast` for whole answers; `of` the clock, or "cpu": of the processor."""
    both = [row for row in rows if _whole(row, slow, whole) and _whole(row, fast, whole)]
    return median_ratio([row[slow][of] for row in both], [row[fast][of] for row in both], ALPHA)


def _whole(row: Mapping[str, Any], name: str, whole: int) -> bool:
    return name in row and row[name]["tokens"] == whole


def speculation(rounds: Rounds, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """What each way of guessing gained over the same step without, and what theory says at its acceptance and cost.

    Theory takes `ahead` tokens to be guessed in each pass; a lookup that finds nothing guesses none, and gains less.
    """
    whole, plain = rounds.bench.task.new_tokens, "static_cache:compiled=true"
    for name, session in rounds.sessions.items():
        if not isinstance(session, Speculative) or "compiled" not in name:
            continue
        some = [row[name] for row in rows if _whole(row, name, whole)]
        tested, taken = (sum(row[of] for row in some) for of in ("tested", "taken"))
        with inferring(rounds.threads):
            one, cost, many = costs(session, rounds.bench.prompts[1])
        share = taken / tested if tested else 0.0
        tokens = expected_speedup(share, session.ahead, 0.0)
        gain = ratio(rows, plain, name, whole)
        yield {
            "option": name, "acceptance": share, "ahead": session.ahead, "draft_cost": cost / one,
            "test_cost": many / one, **_told("measured", gain),
            "expected": expected_speedup(share, session.ahead, cost / one),
            "expected_at_test_cost": tokens / (many / one + session.ahead * cost / one),
        }  # fmt: skip


def _told(name: str, found: Interval) -> dict[str, float | None]:
    """An interval as JSON has it: what is not bounded yet is null."""
    ends = {"": found.estimate, "_low": found.low, "_high": found.high}
    return {name + side: value if math.isfinite(value) else None for side, value in ends.items()}


def identical(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether it wrote what `generate` wrote in every round."""
    return all(row[name]["same"] == row[name]["tokens"] for row in rows if name in row)


def figures(rounds: Rounds, rows: Sequence[Mapping[str, Any]], best: str) -> dict[str, object]:
    """What is claimed."""
    whole = rounds.bench.task.new_tokens
    names = [*dict.fromkeys((best, *OTHERS))]
    same = {name: identical(rows, name) for name in names}
    made: dict[str, object] = {
        "chosen": best, "rounds": len(rows), "timed": sum(_whole(row, best, whole) for row in rows),
        "threads": rounds.threads, "prompt_tokens": rounds.bench.task.prompt_tokens, "new_tokens": whole,
        "greedy_identical": int(same[best]), "identical_on_all_prompts": same,
    }  # fmt: skip
    pairs = {"generate": "generate", "llamacpp": "llamacpp_BF16", "generate_bfloat16": "generate_bfloat16",
             "llamacpp_f32": "llamacpp_F32"}  # fmt: skip
    for label, peer in pairs.items():
        found = ratio(rows, peer, best, whole)
        made |= _told(f"speedup_vs_{label}", found) | _told(f"cpu_vs_{label}", ratio(rows, peer, best, whole, "cpu"))
    for name in (best, "generate", "llamacpp_BF16"):
        taken = sorted(row[name]["seconds"] for row in rows if _whole(row, name, whole))
        made[f"tokens_per_second_{'chosen' if name == best else name}"] = whole / taken[len(taken) // 2]
    session = rounds.sessions["dynamic_cache"]
    with inferring(rounds.threads):
        answer(session, rounds.bench.prompts[1], whole)
    made["kv_bytes_per_token"] = session.cache_bytes() / (rounds.bench.task.prompt_tokens + whole - 1)
    made["kv_bytes_formula"] = kv_bytes_per_token(rounds.bench.served.module.config, 4)
    made["speculation"] = list(speculation(rounds, rows))
    return made


def show(rounds: Rounds, rows: Sequence[Mapping[str, Any]], best: str) -> None:
    """A table of everything that answered."""
    whole, lines = rounds.bench.task.new_tokens, []
    for name in (name for name in rounds.names if name not in rounds.untimed):
        found = ratio(rows, "generate", name, whole)
        some = [row[name] for row in rows if _whole(row, name, whole)]
        first = sorted(row["first"] for row in some)[len(some) // 2] * 1e3
        same = "not told" if name.startswith("llamacpp") else identical(rows, name)
        lines.append((name, found.estimate, found.low, found.high, first, len(some), same))
    table(("answers", "times as fast as generate", "low", "high", "first token, ms", "timed", "as generate"), lines)
    print(f"chosen by weigh: {best}", flush=True)


def main() -> None:
    """Choose, run, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=at_least(10), default=200, help="prompts that all answer")
    arguments.add_argument("--timed", type=at_least(30), default=40, help="rounds that are timed, with whole answers")
    arguments.add_argument("--few", type=at_least(1), default=8, help="tokens of answers in the other rounds")
    arguments.add_argument("--threads", type=at_least(1), default=1, help="threads of each")
    arguments.add_argument(
        "--seconds", type=at_least(1), default=86_400, help="stop after so long; run it again to go on"
    )
    arguments.add_argument("--again", action="store_true", help="forget what is kept")
    asked = arguments.parse_args()
    end = time.monotonic() + asked.seconds
    if asked.again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    with told():
        best = chosen(FOLDER, asked.threads)
        rounds = Rounds(asked.rounds, asked.threads, best, FOLDER)
    rows = measured(rounds, asked, Kept(FOLDER, asked.threads), end)
    if len(rows) < asked.rounds:
        raise SystemExit(f"{len(rows)} of {asked.rounds} rounds are kept; type the same again to go on")
    show(rounds, rows, best)
    report("decoding", figures(rounds, rows, best))


if __name__ == "__main__":
    main()
