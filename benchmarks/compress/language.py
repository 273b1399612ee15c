"""SmolLM2-135M on Python's manual: nats a token that the smaller model loses.

weigh measures the Hugging Face folder; Neural Compressor rounds the layers of the same net in torch, into layers of its
own, in which it is judged and timed by its script.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress import rivals
from benchmarks.compress.shipped import FLOOR, ROUNDS, Judged, in_turns, key, own_cache, remembered, timed
from weigh import catalog
from weigh.compress.quantize import QuantizeTask
from weigh.data import manual, smollm2
from weigh.model import language
from weigh.model.artefact import artefact, unchanged
from weigh.model.module import load_module, load_tokenizer, reopened
from weigh.model.source import open_source
from weigh.model.text import windows
from weigh.model.text_bench import split_windows
from weigh.scale.ratio import median_ratio

NAME = "smollm2"
OPTIONS = ("int8_weights", "int4_weights", "nf4")
"""Of compress/quantize, beside the model as it is; none of them needs to be calibrated, as none of the peer's does."""
PEERS = {"inc": "inc-language"}
"""By rule the environment that it runs in."""
WINDOW, CLIP = 48, 0.1
"""Tokens of a window; nats a token beyond which a window's loss counts as this."""
CALIBRATION, JUDGED, TRUTH = 8, 96, 160
"""Windows of a draw that are set aside for calibration and that judge; windows of no draw, which say what is true."""
STRETCH = 10
"""Paragraphs in a row: every other stretch is for draws, and the others say what is true."""
PROMPT, NEW = 12, 4
"""Tokens that a timed request begins with, and writes."""
TOGETHER = 16


def played(seed: int, rules: Sequence[str], folder: Path, known: Path) -> Iterator[Judged]:
    """Ask some rules about one draw.

    Args:
        folder: an empty one, for what is made meanwhile.
        known: keeps what is true of models.
    """
    draw = Draw(seed, folder, known)
    for rule in rules:
        yield draw.by_weigh() if rule == "weigh" else draw.by_peer()


class Draw:
    """One draw of the manual."""

    def __init__(self, seed: int, folder: Path, known: Path) -> None:
        self._seed, self._folder, self._known = seed, folder, known
        self.source = open_source(smollm2.path())
        tokenizer = load_tokenizer(self.source)
        self.task = {
            "model": self.source.path, "data": drawn(seed, tokenizer, folder), "window": WINDOW, "windows": 1,
            "clip": CLIP, "calibration_rows": CALIBRATION, "held_back": 0.0, "rounds": JUDGED, "prompt_tokens": 4,
            "new_tokens": 1,
        }  # fmt: skip
        self.calibration, self.judged = split_windows(QuantizeTask.model_validate(self.task), tokenizer)
        self.truth = truth(tokenizer, folder)

    def by_weigh(self) -> Judged:
        """`weigh.decide` on the folder."""
        size = unchanged(self.source).megabytes
        with own_cache(self._folder / "cache"):
            option, what, rows, spent = rivals.decided(
                self.task, OPTIONS, f"drop <= {FLOOR}", size, self._folder / "ledger.db", "drop"
            )
            made = artefact(catalog.find(catalog.choice("compress/quantize"), option), self.source, self.calibration)
            nets = [load_module(self.source), load_module(reopened(made.path, self.source))]
        likely = [
            remembered(self._known / f"{name}.npy", lambda net=net: loglik(net, self.truth))
            for name, net in zip(("float", made.sha256[:16]), nets, strict=True)
        ]
        latency = in_turns([self._turn(net) for net in nets]) if timed(self._seed) else None
        drop = float((likely[0] - likely[1]).mean())
        return self._judged(
            "weigh", what, option != "none", drop, made.megabytes / size, rows, spent, made.sha256, latency
        )

    def by_peer(self) -> Judged:
        """Neural Compressor's tuning, in its own layers."""
        data = self._folder / "windows.npz"
        np.savez(data, judged=self.judged, truth=self.truth)
        line = {
            "key": key(NAME, self._seed), "model": str(self.source.path), "floor": FLOOR, "data": str(data),
            "folder": str(self._folder / "inc"), "known": str(self._known), "prompt_tokens": PROMPT,
            "rounds": ROUNDS if timed(self._seed) else 0,
        }  # fmt: skip
        (told,) = rivals.told_by(PEERS["inc"], "inc_language.py", [line], self._folder)
        share = told["bytes"] / 1e6 / unchanged(self.source).megabytes
        times = np.array(told["times"])
        latency = median_ratio(times[:, 1], times[:, 0], 0.05).estimate if len(times) else None
        return self._judged(
            "inc", told["what"], told["kept_to_it"], told["drop"], share, told["rows"],
            told["cpu_seconds"], told["what"], latency,
        )  # fmt: skip

    def _judged(
        self, rule: str, what: str, certified: bool, drop: float, size: float, rows: int, spent: float, digest: str,
        latency: float | None,
    ) -> Judged:  # fmt: skip
        return Judged(
            key=key(NAME, self._seed), rule=rule, what=what, certified=certified, drop=round(drop, 6),
            violated=drop > FLOOR, size=size, rows=rows, cpu_seconds=spent, digest=digest[:16], latency=latency,
        )  # fmt: skip

    def _turn(self, net: Any) -> Callable[[int], float]:
        def turn(shared: int) -> float:
            prompt = self.truth[shared % len(self.truth)][:PROMPT]
            return statistics.median(language.write(net, prompt, NEW).steps)

        return turn


def loglik(net: Any, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-likelihood a token of each window, nats, shape (windows,)."""
    parts = [language.read(net, ids[start : start + TOGETHER]).loglik for start in range(0, len(ids), TOGETHER)]
    return np.asarray(np.concatenate(parts).mean(1))


def stretches() -> list[str]:
    """The manual in parts of some paragraphs."""
    parts = manual.paragraphs()
    return ["\n\n".join(parts[start : start + STRETCH]) for start in range(0, len(parts), STRETCH)]


def drawn(seed: int, tokenizer: Any, folder: Path) -> Path:
    """A text of as many tokens as a draw needs, out of the stretches that are for draws."""
    own = stretches()[::2]
    order = np.random.default_rng([seed, 13]).permutation(len(own))
    text = "\n\n".join(own[place] for place in order)
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    path = folder / "draw.txt"
    path.write_text(text[: ends[(CALIBRATION + JUDGED) * WINDOW][1]], encoding="utf-8")
    return path


def truth(tokenizer: Any, folder: Path) -> NDArray[np.int64]:
    """Windows of stretches that no draw has, shape (TRUTH, WINDOW), the same for all draws."""
    path = folder / "truth.txt"
    path.write_text("\n\n".join(stretches()[1::2]), encoding="utf-8")
    found = windows(path, tokenizer, WINDOW)
    return found[np.random.default_rng(17).permutation(len(found))[:TRUTH]]
