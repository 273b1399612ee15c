"""Several texts written by one model, a token of each at a time; prompts are read in parts between the tokens.

Everything here runs in one thread and knows nothing of requests that wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from weigh.choice import Unfit
from weigh.model.source import reason
from weigh.serve.batching import LanguageModel, Sampling, Token
from weigh.serve.batching._kept import Kept
from weigh.serve.batching._sampling import Chooser, choose

if TYPE_CHECKING:
    import torch

CLOSE, PADDED = 1e-3, 2
"""Greatest difference of scores, of the greatest; padding makes prompts so many times as long at most."""


class Text:
    """One answer in the making.

    Attributes:
        prompt: token ids.
        length: tokens whose keys and values are kept.
        ended: its last token was written, or nobody wants more of it.
    """

    __slots__ = ("chooser", "ended", "last", "length", "prompt", "sampling", "written")

    def __init__(self, prompt: Sequence[int], sampling: Sampling) -> None:
        self.prompt, self.sampling, self.chooser = prompt, sampling, Chooser(sampling)
        self.length, self.written, self.last, self.ended = 0, 0, 0, False

    @property
    def most(self) -> int:
        """Tokens that it may come to, prompt and answer."""
        return len(self.prompt) + self.sampling.max_tokens


class Rows:
    """A model over rows of unequal length."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._eager = getattr(module.config, "_attn_implementation", "sdpa") == "eager"
        self.kept = Kept()

    def read(self, first: int, parts: Sequence[Sequence[int]], starts: Sequence[int]) -> torch.Tensor:
        """Read parts of the prompts of some rows, before which so many tokens stand; scores, shape (rows, tokens).

        Shorter parts are padded on the left, so that all end together. What is kept of padding lies where the row's
        next token will, which no token of the part sees.
        """
        import torch

        wide, ends = max(map(len, parts)), [start + len(part) for start, part in zip(starts, parts, strict=True)]
        longest = max(ends) + (min(map(len, parts)) < wide)
        ids = torch.tensor([[0] * (wide - len(part)) + list(part) for part in parts])
        places = torch.tensor(
            [
                [end] * (wide - len(part)) + list(range(end - len(part), end))
                for part, end in zip(parts, ends, strict=True)
            ]
        )
        self.kept.reserve(first + len(parts), longest)
        self.kept.aim(first, len(parts), starts[0] if len(parts) == 1 else places, longest)
        return self._run(ids, places, (torch.arange(longest) <= places[:, :, None])[:, None])

    def write(self, tokens: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
        """Read one token of each of the first rows, which have so many before it; scores, shape (rows, tokens)."""
        import torch

        longest, places = max(lengths) + 1, torch.tensor(lengths)[:, None]
        self.kept.reserve(len(lengths), longest)
        self.kept.aim(0, len(lengths), places, longest)
        return self._run(torch.tensor(tokens)[:, None], places, (torch.arange(longest) <= places)[:, None, None])

    def _run(self, ids: torch.Tensor, places: torch.Tensor, sees: torch.Tensor) -> torch.Tensor:
        import torch

        mask = sees
        if self._eager:
            numbers = self._module.dtype
            mask = torch.zeros(sees.shape, dtype=numbers).masked_fill(~sees, torch.finfo(numbers).min)
        found: torch.Tensor = self._module(
            input_ids=ids, position_ids=places, attention_mask=mask, past_key_values=self.kept, use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        return found


class Slots:
    """Rows 0 to n - 1 are written; the next ones are prompts that are read, in order.

    Args:
        static: a text that has ended keeps its row, and goes through the model, until all have.
    """

    def __init__(self, model: LanguageModel, static: bool = False) -> None:
        self._ends, self._static = model.ends, static
        self.rows = Rows(model.module)
        self.texts: list[Text] = []
        self.reading: list[Text] = []

    @property
    def busy(self) -> int:
        """Rows that are taken."""
        return len(self.texts) + len(self.reading)

    def longest(self) -> int:
        """What the longest of the texts may come to, in tokens."""
        return max((text.most for text in (*self.texts, *self.reading)), default=0)

    def unread(self) -> int:
        """Tokens of prompts that are still to be read."""
        return sum(len(text.prompt) - text.length for text in self.reading)

    def read(self, most: int) -> list[tuple[Text, Token]]:
        """Up to so many tokens of prompts; the first token of each text whose prompt is read now.

        The prompts of several texts go through the model together, where they are about as long; only the last of
        them may be cut.
        """
        parts = self._parts(most)
        group = self.reading[: len(parts)]
        logits = self.rows.read(len(self.texts), parts, [text.length for text in group])
        for text, part in zip(group, parts, strict=True):
            text.length += len(part)
        whole = [text for text in group if text.length == len(text.prompt)]
        self.texts += whole
        self.reading = self.reading[len(whole) :]
        made = self._chosen(whole, logits[: len(whole)])
        self._leave()
        return made

    def _parts(self, most: int) -> list[Sequence[int]]:
        parts: list[Sequence[int]] = []
        left, wide = most, 0
        for text in self.reading:
            part = text.prompt[text.length : text.length + left]
            wide = max(wide, len(part))
            if parts and wide * (len(parts) + 1) > PADDED * (most - left + len(part)):
                break
            parts.append(part)
            left -= len(part)
            if not left:
                break
        return parts

    def write(self) -> list[tuple[Text, Token]]:
        """A token of each text that is not ended."""
        logits = self.rows.write([text.last for text in self.texts], [text.length for text in self.texts])
        living = [place for place, text in enumerate(self.texts) if not text.ended]
        for place in living:
            self.texts[place].length += 1
        made = self._chosen([self.texts[place] for place in living], logits[living])
        self._leave()
        return made

    def drop(self, text: Text) -> None:
        """Nobody reads it any more."""
        text.ended = True
        if text in self.reading:
            place = self.reading.index(text)
            del self.reading[place]
            self._close_up(place)
        self._leave()

    def _close_up(self, place: int) -> None:
        """Prompts that are read, from that one on, go a row down."""
        for at, text in enumerate(self.reading[place:], len(self.texts) + place):
            self.rows.kept.move(at + 1, at, text.length)

    def clear(self) -> None:
        """Forget all texts."""
        self.texts, self.reading = [], []
        self.rows.kept.release()

    def _chosen(self, texts: Sequence[Text], logits: torch.Tensor) -> list[tuple[Text, Token]]:
        made = []
        for text, token, row in zip(texts, choose(logits, [text.chooser for text in texts]), logits, strict=True):
            text.last, text.written = token, text.written + 1
            stop, length = token in self._ends, text.written == text.sampling.max_tokens
            text.ended = stop or length
            scores: tuple[Any, ...] = () if text.sampling.logprobs is None else text.chooser.scores(row, token)
            made.append((text, Token(token, "stop" if stop else "length" if length else "", *scores)))
        return made

    def _leave(self) -> None:
        """Rows of texts that ended are filled with the last ones."""
        if self._static and not all(text.ended for text in self.texts):
            return
        row = 0
        while row < len(self.texts):
            if not self.texts[row].ended:
                row += 1
                continue
            last = self.texts.pop()
            if row < len(self.texts):
                self.rows.kept.move(len(self.texts), row, last.length)
                self.texts[row] = last
            self._close_up(0)


_SOUND: WeakSet[Any] = WeakSet()


def need_sound(model: LanguageModel) -> None:
    """Two rows of unequal length, one of them read in parts, must get the scores that each text gets alone.

    It tells models whose layers keep something else than keys and values of all tokens (sliding windows, state spaces),
    or take their positions from elsewhere. A model is tried once.

    Raises:
        Unfit: they do not.
    """
    import torch

    module = model.module
    window = _window(module.config.get_text_config())
    if window and window < model.context:
        raise Unfit(_apart(module, f"its layers look {window} tokens back, and the context served is {model.context}"))
    if module in _SOUND:
        return
    try:
        words = module.config.get_text_config().vocab_size
        texts = [[1 + 7 * place % (words - 1) for place in range(count)] for count in (8, 4)]
        with torch.inference_mode():
            rows = Rows(module)
            rows.read(0, [texts[0][:3]], [0])
            rows.read(0, [texts[0][3:7], texts[1][:3]], [3, 0])
            both = rows.write([texts[0][-1], texts[1][-1]], [7, 3]).float()
            alone = [module(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1].float() for text in texts]
    except Exception as error:
        raise Unfit(_apart(module, f"it fails ({type(error).__name__}: {reason(error)})")) from error
    gap = max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(both, alone, strict=True))
    if not gap <= max(CLOSE, 8 * torch.finfo(module.dtype).eps):
        raise Unfit(_apart(module, f"scores of a text differ by {gap:.2g} of the greatest from those it gets alone"))
    _SOUND.add(module)


def _window(config: Any) -> int | None:
    """How many tokens back a model's layers look, where some do not see all: too many for a short trial to tell."""
    kinds = getattr(config, "layer_types", None)
    if kinds and all(kind == "full_attention" for kind in kinds):
        return None
    return getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)


def _apart(module: Any, what: str) -> str:
    return (
        f"{type(module).__name__} cannot write several texts at once here: {what}. weigh keeps keys and values of all "
        "tokens, a row a text, which models with sliding windows or state spaces do not have: serve a context within "
        "the window, take a model with full attention in every layer, or serve this one with vLLM"
    )
