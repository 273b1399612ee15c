"""llama.cpp as a peer: a server in this process that is given token ids and writes greedily."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weigh.data.cache import replacing
from weigh.model.source import Source
from weigh.serve._silent import silent
from weigh.serve.decoding import Session, Step, Told


def gguf_of(source: Source, numbers: str, folder: Path) -> Path:
    """The model as a GGUF in those numbers, written once."""
    from weigh.model.gguf_write import write_gguf

    target = folder / f"{source.digest[:16]}-{numbers}.gguf"
    if not target.exists():
        with replacing(target) as temporary:
            write_gguf(source, temporary, numbers, ids_only=True)  # type: ignore[arg-type]
    return target


class LlamaServer(Session):
    """One slot; nothing is kept between prompts; the most likely token is taken, with no other sampler before it."""

    def __init__(self, model: Path, threads: int) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_parallel, params.n_ctx = 1, 512
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_prompt, params.warmup, params.verbosity = False, True, -1
        params.cache_ram_mib, params.n_gpu_layers = 0, 0
        with silent():
            self._server = xllamacpp.Server(params)

    def decode(self, prompt: Sequence[int], new_tokens: int, told: Told) -> None:
        asked = {
            "prompt": list(prompt), "n_predict": new_tokens, "temperature": 0.0, "samplers": ["top_k"], "top_k": 1,
            "cache_prompt": False, "ignore_eos": True, "return_tokens": True,
        }  # fmt: skip
        found = self._server.handle_completions(asked)
        written = found.get("tokens") or found.get("choices", [{}])[0].get("tokens") or []
        count = found.get("usage", {}).get("completion_tokens", len(written))
        if count != new_tokens:
            raise RuntimeError(f"llama.cpp wrote {count} of {new_tokens} tokens: {str(found)[:300]}")
        told(Step(written or [-1] * new_tokens))

    def cache_bytes(self) -> int:
        return 0
