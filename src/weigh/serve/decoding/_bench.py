"""A decoding task, opened: the model is loaded, prompts are drawn, answers timed and compared with greedy ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values
from weigh.serve._memory import peak_memory
from weigh.serve._threads import inferring
from weigh.serve.decoding import Decoder, DecodingTask, Served, Session, Step
from weigh.serve.decoding._greedy import Greedy
from weigh.serve.decoding._prompts import prompts_and_study
from weigh.serve.decoding._runner import ModuleRunner

WARM, SLACK = 16, 16


class NotIdentical(RuntimeError):
    """An option that promises the tokens of plain greedy decoding wrote others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its tokens, when each was certain (seconds after the prompt came), and how guesses fared."""

    tokens: list[int]
    times: list[float]
    tested: int
    taken: int
    steps: int


@dataclass(frozen=True, slots=True)
class Subject:
    """An option that is ready; `memory` in bytes; `first` keeps where each prompt's answer first differed."""

    option: Decoder
    session: Session
    memory: int
    kv_bytes: float
    first: dict[int, int] = field(default_factory=dict)


@final
class DecodingBench(Bench):
    """Prompts come in an order drawn from the seed, one a block; each option answers each prompt.

    Raises:
        UsageError: the model is no language model of transformers, or there are too few prompts.
    """

    def __init__(self, task: DecodingTask, seed: int) -> None:
        import numpy as np

        from weigh.model.module import load_module, load_tokenizer
        from weigh.model.source import open_source

        self.task = task
        source = open_source(task.model)
        if source.format != "huggingface" or source.kind != "language":
            raise UsageError(
                f"model={task.model} is no language model in a Hugging Face folder (config.json, safetensors, "
                "tokenizer), which is what writes token by token here; weigh serve/runtime for other formats"
            )
        wanted = self.blocks.race + self.blocks.fresh + 1
        found, study = prompts_and_study(task.prompts, load_tokenizer(source), task.prompt_tokens, wanted)
        order = np.random.default_rng(seed).permutation(len(found) - 1) + 1
        self.prompts = [found[0], *(found[place] for place in order)]
        module = load_module(source, task.dtype)
        module.generation_config.eos_token_id = None  # answers have a set length
        module.generation_config.pad_token_id = 0
        self.served = Served(source, module, task.prompt_tokens + task.new_tokens + SLACK, lambda: study)
        self._truths: dict[int, list[int]] = {}

    @property
    def blocks(self) -> Blocks:
        return Blocks(race=self.task.rounds, fresh=max(self.task.rounds // 2, 1))

    def prepare(self, option: Decoder) -> Subject:
        with inferring(self.task.threads):
            session = option.open(self.served)
            answer(session, self.prompts[0], self.task.new_tokens)
            tokens = len(self.prompts[0]) + self.task.new_tokens - 1
            kv_bytes = session.cache_bytes() / tokens
            few = min(WARM, self.task.new_tokens)
            memory = peak_memory(lambda: session.decode(self.prompts[0], few, _ignore))
            return Subject(option, session, memory + self._kept_bytes(session), kv_bytes)

    def _kept_bytes(self, session: Session) -> int:
        """Bytes that a session keeps beside the model's own weights, each tensor once."""
        own = {tensor.data_ptr() for tensor in self.served.module.parameters()}
        beside = {tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in session.kept()}
        return sum(size for place, size in beside.items() if place not in own)

    def trial(self, subject: Subject, block: Block) -> Values:
        prompt = self.prompts[block.index + 1]
        truth = self.truth(block.index + 1)
        with inferring(self.task.threads):
            made = answer(subject.session, prompt, self.task.new_tokens)
        same = self.compare(subject, block.index + 1, made.tokens, truth)
        return {
            "tokens_per_second": [len(made.tokens) / made.times[-1]],
            "ttft": [made.times[0] * 1e3],
            "identical": [same / len(truth)],
            "acceptance": [made.taken / made.tested if made.tested else 0.0],
            "kv_bytes": subject.kv_bytes,
            "memory": subject.memory / 1e6,
        }

    def truth(self, place: int) -> list[int]:
        """What plain greedy decoding writes after a prompt."""
        if place not in self._truths:
            from transformers import DynamicCache

            module = self.served.module
            plain = Greedy(ModuleRunner(module, lambda: DynamicCache(config=module.config)))
            with inferring(self.task.threads):
                self._truths[place] = answer(plain, self.prompts[place], self.task.new_tokens).tokens
        return self._truths[place]

    def compare(self, subject: Subject, place: int, tokens: Sequence[int], truth: Sequence[int]) -> int:
        """Tokens before the first difference.

        Raises:
            NotIdentical: there is one, in float32, and the option promises that there is none.
        """
        if len(tokens) != len(truth):
            raise NotIdentical(f"{subject.option.spec} wrote {len(tokens)} tokens; {len(truth)} were asked for")
        same = next((i for i, (one, other) in enumerate(zip(tokens, truth)) if one != other), len(truth))
        if same == len(truth):
            return same
        subject.first[place] = same
        if subject.option.exact and self.task.dtype == "float32":
            raise NotIdentical(
                f"{subject.option.spec} promises the tokens of plain greedy decoding, but after prompt {place} its "
                f"token {same + 1} is {tokens[same]} and not {truth[same]}, {self._gap(place, truth, same)}"
            )
        return same

    def _gap(self, place: int, truth: Sequence[int], same: int) -> str:
        """How near the two likeliest tokens are there."""
        import torch

        ids = torch.tensor([[*self.prompts[place], *truth[:same]]])
        with inferring(self.task.threads):
            best = self.served.module(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].topk(2).values
        return f"where the scores of the two likeliest are {float(best[0] - best[1]):.3g} apart"

    def exhibits(self, subjects: Mapping[str, Subject]) -> Sequence[Exhibit]:
        from weigh.serve.decoding._exhibits import exhibits

        return exhibits(self, subjects)


def answer(session: Session, prompt: Sequence[int], new_tokens: int) -> Answer:
    """Let a session answer, and take the times at which tokens become certain."""
    steps: list[tuple[float, Step]] = []
    clock = time.perf_counter
    start = clock()
    session.decode(prompt, new_tokens, lambda step: steps.append((clock(), step)))
    return Answer(
        [token for _, step in steps for token in step.tokens],
        [when - start for when, step in steps for _ in step.tokens],
        sum(step.tested for _, step in steps), sum(step.taken for _, step in steps), len(steps),
    )  # fmt: skip


def _ignore(_: Any) -> None:
    """Told, and forgotten."""
