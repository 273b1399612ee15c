"""What transformers does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from weigh.serve.decoding import Decoder, Served, Session, Step, Told
from weigh.serve.decoding._runner import bytes_of


@final
class Generate(Decoder):
    """`transformers.generate` with its defaults: what is replaced, and what others are to be compared with.

    Good for everything that it can do beyond greedy decoding.

    Bad for speed: between two tokens it prepares masks, inputs and conditions in Python.

    Source: transformers, `GenerationMixin.generate`.
    """

    def open(self, served: Served) -> Session:
        return Generating(served.module)


class Generating(Session):
    """Calls `generate`."""

    def __init__(self, module: Any) -> None:
        self._module, self._cache = module, None

    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        import torch

        ids = torch.tensor([prompt])
        made = self._module.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, do_sample=False,
            streamer=_streamer(told), return_dict_in_generate=True,
        )  # fmt: skip
        self._cache = made.past_key_values

    def cache_bytes(self) -> int:
        return sum(bytes_of(layer) for layer in self._cache.layers) if self._cache is not None else 0


def _streamer(told: Told) -> Any:
    from transformers.generation.streamers import BaseStreamer

    class Streamer(BaseStreamer):
        """Passes tokens on; the first that it is given is the prompt."""

        def __init__(self) -> None:
            self._begun = False

        def put(self, value: Any) -> None:
            if self._begun:
                told(Step(value.flatten().tolist()))
            self._begun = True

        def end(self) -> None:
            self._begun = False

    return Streamer()
