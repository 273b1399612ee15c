"""A language model at work: log-likelihoods of given tokens, and greedy writing with a cache, timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weigh.model.session import no_collection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model says of windows of tokens.

    Attributes:
        loglik: of each judged token, nats, shape (windows, judged).
        best: the token that it would have written in its place, the same shape.
        right: the tokens that stood there, the same shape.
    """

    loglik: NDArray[np.float64]
    best: NDArray[np.int64]
    right: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Request:
    """One greedy request: milliseconds until the first token, of each token after it, and what was written."""

    first: float
    steps: list[float]
    tokens: list[int]


def read(module: Any, ids: NDArray[np.int64]) -> Reading:
    """Judge every token of the windows but those of the first quarter, which are context."""
    import numpy as np
    import torch

    skip = max(1, ids.shape[1] // 4)
    with torch.inference_mode():
        logits = module(input_ids=torch.from_numpy(np.array(ids)), use_cache=False).logits[:, skip - 1 : -1].float()
        right = torch.from_numpy(np.array(ids[:, skip:]))
        chosen = logits.gather(2, right.unsqueeze(2)).squeeze(2)
        loglik = chosen - logits.logsumexp(2)
        best = logits.argmax(2)
    return Reading(loglik.double().numpy(), best.numpy(), right.numpy())


def write(module: Any, prompt: NDArray[np.int64], new_tokens: int) -> Request:
    """Greedy writing after a prompt of shape (tokens,), with a cache of keys and values."""
    import numpy as np
    import torch

    clock, steps, tokens = time.perf_counter_ns, [], []
    ids = torch.from_numpy(np.array(prompt)).reshape(1, -1)
    cache = None
    with no_collection(), torch.inference_mode():
        for _ in range(new_tokens):
            start = clock()
            out = module(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            ids = out.logits[:, -1:].argmax(-1)
            tokens.append(int(ids))
            steps.append((clock() - start) / 1e6)
            cache = out.past_key_values
    return Request(steps[0], steps[1:] or steps, tokens)
