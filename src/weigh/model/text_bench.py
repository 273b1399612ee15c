"""A language model and a text, opened: windows judge, and short greedy requests are timed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Bench, Block, Blocks, Exhibit, UsageError, Values
from weigh.model import language
from weigh.model.artefact import Artefact, artefact, unchanged
from weigh.model.memory import peak_mb
from weigh.model.module import load_module, load_tokenizer, reopened
from weigh.model.source import Source, open_source
from weigh.model.task import Calibration, Converter, ModelTask, Wrapper
from weigh.model.text import windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Extras = Callable[[Any, Artefact], Values]

FEWEST = 20


@dataclass(frozen=True, slots=True)
class Written:
    """One artefact, loaded; `times` keeps the requests of each block that this process measured."""

    made: Artefact
    module: Any
    exact: Mapping[str, float]
    times: dict[int, language.Request] = field(default_factory=dict)


@final
class TextBench(Bench):
    """Windows of the text in an order drawn from the seed, each once: those of the race first, then those held back.

    Windows for calibration are the same in every run, so that an artefact depends on the task alone. All options stay
    loaded, since loading a language model takes longer than a trial, and take turns within a round.

    Args:
        extras: further exact values of an artefact, by the measures of the choice.

    Raises:
        UsageError: the model or the text cannot be used.
    """

    def __init__(self, task: ModelTask, seed: int, extras: Extras | None = None) -> None:
        import numpy as np
        import torch

        torch.set_num_threads(task.threads)
        self.task, self._extras = task, extras
        self.source = in_torch(open_source(task.model, task.architecture, task.trust))
        self.tokenizer = load_tokenizer(self.source)
        self.calibration, judged = split_windows(task, self.tokenizer)
        self.original = load_module(self.source)
        self._windows = judged[np.random.default_rng(seed).permutation(len(judged))]
        self._blocks = cut(len(judged), task)
        self._shared: tuple[int, NDArray[np.int64], language.Reading] | None = None

    @property
    def blocks(self) -> Blocks:
        return self._blocks

    def prepare(self, option: Converter | Wrapper) -> Written:
        if isinstance(option, Wrapper):
            return Written(unchanged(self.source), option.wrap(load_module(self.source)), {})
        made = artefact(option, self.source, self.calibration)
        same = made.path == self.source.path
        module = self.original if same else load_module(reopened(made.path, self.source))
        exact = {"memory": peak_mb(made, self.source, self.task), "size": made.megabytes}
        more = self._extras(module, made) if self._extras else {}
        return Written(made, module, {**exact, **more})  # type: ignore[dict-item]

    def trial(self, subject: Written, block: Block) -> Values:
        import numpy as np

        ids, theirs = self._read(block)
        mine = theirs if subject.module is self.original else language.read(subject.module, ids)
        draw = np.random.default_rng(block.seed).integers(len(self._windows))
        prompt = self._windows[draw][: self.task.prompt_tokens]
        request = language.write(subject.module, prompt, self.task.new_tokens)
        subject.times[block.index] = request
        lost = (theirs.loglik - mine.loglik).mean(1)
        total = request.first + sum(request.steps)
        return {
            "latency": [statistics.median(request.steps)],
            "p95": request.steps[-1:],
            "tokens_per_second": [1e3 * len(request.tokens) / total],
            "accuracy": (mine.best == mine.right).mean(1).tolist(),
            "agreement": (mine.best == theirs.best).mean(1).tolist(),
            "drop": np.clip(np.where(np.isfinite(lost), lost, np.inf), -self.task.clip, self.task.clip).tolist(),
            **subject.exact,
        }

    def sample(self, count: int) -> NDArray[np.int64]:
        """Some of the windows that judge, shape (windows, tokens)."""
        return self._windows[:count]

    def _read(self, block: Block) -> tuple[NDArray[np.int64], language.Reading]:
        """The windows of a block, and what the original says of them."""
        if self._shared is None or self._shared[0] != block.index:
            start = block.index * self.task.windows
            ids = self._windows[start : start + self.task.windows]
            self._shared = block.index, ids, language.read(self.original, ids)
        return self._shared[1:]

    def exhibits(self, subjects: Mapping[str, Written]) -> Sequence[Exhibit]:
        from weigh.model.exhibits import written

        return written(self, subjects)


def in_torch(source: Source) -> Source:
    """The source itself; of a GGUF file the numbers that it holds as a Hugging Face folder."""
    if source.format != "gguf":
        return source
    from weigh.model.gguf_file import as_folder

    return open_source(as_folder(source))


def split_windows(task: ModelTask, tokenizer: Any) -> tuple[Calibration, NDArray[np.int64]]:
    """Windows to calibrate on, and the others, which judge; windows that equal one for calibration do neither.

    Raises:
        UsageError: too few are left.
    """
    import numpy as np

    found = windows(task.data, tokenizer, task.window)
    draw = np.random.default_rng(0)
    if task.calibration:
        theirs = windows(task.calibration, tokenizer, task.window)
        chosen = theirs[np.sort(draw.permutation(len(theirs))[: task.calibration_rows])]
        known = {row.tobytes() for row in chosen}
        judged = found[[row.tobytes() not in known for row in found]]
    else:
        order = draw.permutation(len(found))
        chosen, judged = found[np.sort(order[: task.calibration_rows])], found[np.sort(order[task.calibration_rows :])]
    if len(judged) < FEWEST * task.windows:
        raise UsageError(_too_few(task, len(found), len(judged)))
    return Calibration({"input_ids": np.array(chosen)}), judged


def _too_few(task: ModelTask, found: int, judged: int) -> str:
    """The sums, and a number of windows for calibration that works, if there is one."""
    fewest, size = FEWEST * task.windows, task.window
    text = f"{task.data} has {found} windows of {size} tokens"
    if task.calibration:
        return (
            f"{text}, {found - judged} of which equal one that calibrates: {judged} are left to judge on, and {fewest} "
            "are the fewest: give a longer text, or another: calibration=..."
        )
    spare = found - fewest
    fits = f", or leave more of it: calibration_rows={(spare + 1) // 2}" if spare > 0 else ""
    return (
        f"{text}; {found - judged} of them for calibration leave {judged} to judge on (a share of {task.held_back:g} "
        f"of them to confirm), and {fewest} are the fewest: give a text of {(found - judged + fewest) * size:,} tokens "
        f"or more{fits}"
    )


def cut(count: int, task: ModelTask) -> Blocks:
    """How many blocks so many windows give; race and fresh blocks have windows of their own."""
    groups = count // task.windows
    race = max(1, min(task.rounds, round(groups * (1 - task.held_back))))
    fresh = min(groups - race, max(10, race // 2))
    return Blocks(race=race, fresh=fresh, population=count if task.finite else None)
