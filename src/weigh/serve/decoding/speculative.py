"""Guesses of a smaller model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from pydantic import Field

from weigh.choice import Unfit, UsageError
from weigh.serve.decoding import Decoder, Served, Session
from weigh.serve.decoding._draft import default_draft
from weigh.serve.decoding._greedy import Drafting, Speculative
from weigh.serve.decoding._llama import CompiledRunner, packed
from weigh.serve.decoding._runner import ModuleRunner


@final
class Draft(Decoder):
    """A smaller model of the same tokenizer guesses some tokens; the model tests all of them in one pass.

    Good where a draft is much cheaper than the model and often right; the tokens are those of plain greedy decoding,
    whatever the draft says. Without a draft of your own, one is made of some of the model's layers and taught on text
    that no prompt comes from; it is made once and kept.

    Bad for small models, whose draft costs a good part of what it saves: with vocabularies of 50,000 tokens most of a
    small draft is its head.

    Source: Leviathan et al., Fast Inference from Transformers via Speculative Decoding (arXiv 2211.17192).
    """

    draft: str = Field("", description="folder of a draft model; one is made when empty")
    layers: int = Field(0, ge=0, description="layers of the draft that is made; an eighth of the model's when 0")
    steps: int = Field(40, ge=0, description="steps in which the draft that is made learns from the model")
    ahead: int = Field(2, ge=1, description="tokens that are guessed at once")
    compiled: bool = Field(False, description="as of static_cache: compile the step, of both")

    def open(self, served: Served) -> Session:
        from transformers import DynamicCache

        draft = self._draft(served)
        mine, theirs = (one.config.vocab_size for one in (draft, served.module))
        if mine != theirs:
            raise Unfit(
                f"the draft knows {mine} tokens and the model {theirs}: a draft guesses tokens of the same tokenizer; "
                "give another draft=..., or none"
            )
        if self.compiled:
            guess = CompiledRunner(draft, packed(draft), served.room, (1, 2))
            test = CompiledRunner(served.module, packed(served.module), served.room, (1, self.ahead + 1))
            return Speculative(test, Drafting(guess), self.ahead)
        eager = [ModuleRunner(net, lambda net=net: DynamicCache(config=net.config)) for net in (served.module, draft)]  # type: ignore[misc]
        return Speculative(eager[0], Drafting(eager[1]), self.ahead)

    def _draft(self, served: Served) -> Any:
        from weigh.model.module import load_module
        from weigh.model.source import open_source

        path = Path(self.draft) if self.draft else default_draft(served, self.layers, self.steps)
        try:
            source = open_source(path)
        except UsageError as error:
            raise Unfit(f"the draft cannot be used: {error}") from None
        if self.draft:
            need_same_tokens(served.source.path, path)
        return load_module(source, str(served.module.dtype).removeprefix("torch."))


def need_same_tokens(model: Path, draft: Path) -> None:
    """Raises `Unfit` when two folders have tokenizers that number tokens differently."""
    import json

    files = [folder / "tokenizer.json" for folder in (model, draft)]
    if not all(file.is_file() for file in files):
        return
    words = [json.loads(file.read_text(encoding="utf-8"))["model"].get("vocab") for file in files]
    if words[0] != words[1]:
        raise Unfit(
            f"the tokenizer of the draft {draft} is not the model's, so its guesses mean other words: give a draft "
            "of the same tokenizer, or none, and one is made"
        )
