"""Neural Compressor's own rule for language models: `autotune`, which takes the first configuration that keeps to it.

What it makes runs in its own layers alone, so that it is judged and timed here, beside the float model.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import _asked
import numpy as np
import torch
from neural_compressor.torch.quantization import RTNConfig, TuningConfig, autotune
from transformers import AutoModelForCausalLM

TOGETHER = 48
"""Windows of a pass: the weights are unpacked anew in each."""
CONFIGURATIONS = (
    {"bits": 4, "use_sym": True, "group_size": 128}, {"bits": 4, "use_sym": False, "group_size": 32},
    {"bits": 8, "use_sym": True, "group_size": -1},
)  # fmt: skip
"""Weights of 4 and 8 bits, smallest first: the first that keeps to the limit is then the smallest that does."""
KEPT = 2
"""Bytes of a number that is not packed: the folder keeps its weights in bfloat16."""
LONGEST = 60.0
"""Seconds after which no further round is timed."""


class Windows(_asked.Job):
    """One draw of token windows, shape (windows, tokens); the rows that count are windows."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._start(told)
        with np.load(told["data"]) as arrays:
            self.judged, self._truth = (torch.from_numpy(arrays[part]) for part in ("judged", "truth"))
        self._rounds, self._prompt, self._known = int(told["rounds"]), int(told["prompt_tokens"]), Path(told["known"])
        self.net = AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32, local_files_only=True).eval()
        self.made: Any = None
        self.place = -1

    def likelihood(self, net: Any) -> float:
        """Likelihood of a judged token, the geometric mean: it falls by a factor as its log does by nats."""
        found = float(loglik(net, self.judged).mean())
        self.evaluations.append((found, 0.0))
        self.rows += len(self.judged)
        return math.exp(found)

    def afterwards(self) -> dict[str, Any]:
        """What is lost on windows of no draw, the bytes, and times in turns: (rounds, 2), milliseconds, float first."""
        base, *tried = (found for found, _ in self.evaluations)
        lost = self._true("inc-float", self.net) - self._true(f"inc-{self.place}", self.made)
        return {
            "kept_to_it": tried[self.place] >= base - self.floor, "drop": float(lost.mean()),
            "bytes": kept_bytes(self.made), "times": self._timed(),
        }  # fmt: skip

    def _true(self, name: str, net: Any) -> Any:
        """Log-likelihoods of windows of no draw; kept, since rounding owes nothing to the draw."""
        path = self._known / f"{name}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, loglik(net, self._truth).numpy())
        return np.load(path)

    def _timed(self) -> list[list[float]]:
        random, end, found = np.random.default_rng(0), time.monotonic() + LONGEST, []
        for _ in range(self._rounds):
            if time.monotonic() > end:
                break
            prompt = self._truth[int(random.integers(len(self._truth)))][: self._prompt][None]
            turn = {side: token_ms((self.net, self.made)[side], prompt) for side in random.permutation(2).tolist()}
            found.append([turn[0], turn[1]])
        return found


def loglik(net: Any, ids: Any) -> Any:
    """Log-likelihood a token of each window, nats; the first quarter is context, as in `weigh.model.language`."""
    skip, parts = max(1, ids.shape[1] // 4), []
    with torch.inference_mode():
        for some in ids.split(TOGETHER):
            logits = net(input_ids=some, use_cache=False).logits[:, skip - 1 : -1].float()
            chosen = logits.gather(2, some[:, skip:].unsqueeze(2)).squeeze(2)
            parts.append((chosen - logits.logsumexp(2)).double().mean(1))
    return torch.cat(parts)


def token_ms(net: Any, prompt: Any) -> float:
    """Milliseconds of one written token after a prompt, whose keys and values are kept."""
    with torch.inference_mode():
        out = net(input_ids=prompt, use_cache=True, logits_to_keep=1)
        following, start = out.logits[:, -1:].argmax(-1), time.perf_counter_ns()
        net(input_ids=following, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
    return (time.perf_counter_ns() - start) / 1e6


def kept_bytes(net: Any) -> int:
    """Bytes of its tensors, each once: whole numbers as they are packed, the others as the folder keeps them."""
    whole = {tensor.data_ptr(): tensor for tensor in net.state_dict(keep_vars=True).values()}
    return sum(
        tensor.numel() * (KEPT if tensor.is_floating_point() else tensor.element_size()) for tensor in whole.values()
    )


def choose(job: Windows) -> tuple[Path | None, str]:
    """What `autotune` returns: where no configuration keeps to the limit, the best."""
    torch.set_num_threads(1)
    goal = TuningConfig(
        config_set=[RTNConfig(**one) for one in CONFIGURATIONS],
        tolerable_loss=1 - math.exp(-job.floor),
        max_trials=len(CONFIGURATIONS),
    )
    job.made = autotune(job.net, goal, eval_fn=job.likelihood)
    base, *tried = (found for found, _ in job.evaluations)
    job.place = len(tried) - 1 if tried[-1] >= base - job.floor else int(np.argmax(tried))
    one = CONFIGURATIONS[job.place]
    return job.model, f"{one['bits']} bits, groups of {one['group_size']}, {'' if one['use_sym'] else 'a'}symmetric"


if __name__ == "__main__":
    _asked.serve(choose, Windows)
