"""llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.serve._silent import silent
from weigh.serve.runtime import Calibration, Runtime, Served, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source


@final
class LlamaCpp(Runtime):
    """llama.cpp: a Llama is written as one GGUF file, tokenizer included, and run by hand-written C++.

    Good for language models on laptops and small servers: one file, mapped into memory, starts at once and needs
    neither torch nor Python. A .gguf model is run as it is.

    Bad for other models, and for parity in small numbers: F16 and Q8_0 round weights and activations, which the
    tolerance must allow. The writer knows Llamas alone.

    Source: ggml-org/llama.cpp, through xllamacpp; GGUF (ggml, docs/gguf.md).
    """

    needs: ClassVar[Needs] = Needs(
        packages=("xllamacpp>=2025.7", "gguf>=0.17", "transformers>=5", "torch>=2.8"), extra="runtimes"
    )

    numbers: Literal["F32", "F16", "BF16", "Q8_0"] = Field("F32", description="that the matrices are written in")
    cache: Literal["f32", "f16"] = Field("f32", description="numbers of the cache of keys and values")
    flash: bool = Field(False, description="flash attention, which rounds to float16 here: about 0.01 nats")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.format == "gguf":
            return source.path
        if source.kind != "language":
            raise Unfit("llama.cpp is asked for the scores of next tokens here: give a language model")
        from weigh.model.gguf_write import write_gguf

        return write_gguf(source, folder / "model.gguf", self.numbers, ids_only=True)

    def open(self, path: Path, source: Source, setting: Setting) -> Served:
        return LlamaServed(path, setting, self)


@final
class LlamaServed(Served):
    """A server of llama.cpp in this process, given token ids; as many slots as rows come at once."""

    def __init__(self, path: Path, setting: Setting, option: LlamaCpp) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        slots = setting.rows[-1]
        params.n_parallel, params.n_ctx = slots, slots * _room(setting.tokens)
        params.n_batch = params.n_ubatch = max(slots * setting.tokens, 32)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = setting.threads
        kind = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{option.cache.upper()}")
        params.cache_type_k = params.cache_type_v = kind
        attend = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = (
            attend.LLAMA_FLASH_ATTN_TYPE_ENABLED if option.flash else attend.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.cache_prompt, params.warmup, params.verbosity = False, True, -1
        params.cache_ram_mib, params.n_gpu_layers = 0, 0
        with silent():
            self._server = xllamacpp.Server(params)

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Log-probabilities of every token of the vocabulary."""
        import numpy as np

        choices = self._ask(feed["input_ids"], probabilities=1 << 20)
        found = [{one["id"]: one["logprob"] for one in _top(choice)} for choice in choices]
        size = max(max(row) for row in found) + 1
        table = np.full((len(found), size), -np.inf, np.float32)
        for row, known in enumerate(found):
            table[row, list(known)] = list(known.values())
        return table

    def run(self, feed: Mapping[str, NDArray[Any]]) -> None:
        self._ask(feed["input_ids"], probabilities=0)

    def _ask(self, ids: NDArray[Any], probabilities: int) -> list[dict[str, Any]]:
        """The choices, in the order of the rows; one token is written for each.

        Raises:
            RuntimeError: the server refuses.
        """
        asked = {
            "prompt": ids.tolist(), "n_predict": 1, "temperature": 0.0, "n_probs": probabilities, "cache_prompt": False,
        }  # fmt: skip
        told = self._server.handle_completions(asked)
        if "choices" not in told:
            raise RuntimeError(f"llama.cpp refuses: {str(told)[:300]}")
        return sorted(told["choices"], key=lambda choice: int(choice["index"]))


def _top(choice: dict[str, Any]) -> list[dict[str, Any]]:
    return list(choice["logprobs"]["content"][0]["top_logprobs"])


def _room(tokens: int) -> int:
    """Places in a slot: the prompt, the token that is written, rounded up as llama.cpp wants it."""
    return -(-(tokens + 1) // 256) * 256
