"""A cache that grows."""

from __future__ import annotations

from typing import final

from weigh.serve.decoding import Decoder, Served, Session
from weigh.serve.decoding._greedy import Greedy
from weigh.serve.decoding._runner import ModuleRunner


@final
class Dynamic(Decoder):
    """A cache of keys and values that grows with each token.

    Good as what everybody takes: each token is read once, and the cache is as large as the text is long.

    Bad for speed on small models: keys and values are copied with each token, and shapes that change keep a compiler
    from helping.

    Source: Shazeer, Fast Transformer Decoding (arXiv 1911.02150); `transformers.DynamicCache`.
    """

    def open(self, served: Served) -> Session:
        from transformers import DynamicCache

        return Greedy(ModuleRunner(served.module, lambda: DynamicCache(config=served.module.config)))
