"""Keys and values of several texts of unequal length, in one block a layer: a row a text, filled from the left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STEP = 64
"""Room is a multiple of it, and grows by a quarter at least."""


class Kept:
    """What transformers' models take as `past_key_values`, as far as they ask anything of it.

    Before each call of the model `aim` says which rows are read, and where their new tokens stand. Positions and a mask
    of four dimensions go into the call beside it, so that the model makes neither.
    """

    is_compileable = False

    def __init__(self) -> None:
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._rows = self._room = 0
        self._aim: tuple[int, int, Any, int] = (0, 0, None, 0)

    def reserve(self, rows: int, length: int) -> None:
        """Room for so many rows of so many tokens; what is kept stays."""
        if rows <= self._rows and length <= self._room:
            return
        wide = (
            max(self._room, -(-max(length, self._room * 5 // 4) // STEP) * STEP) if length > self._room else self._room
        )
        self._rows, self._room = max(rows, self._rows), wide
        self._keys = [self._grown(old) for old in self._keys]
        self._values = [self._grown(old) for old in self._values]

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        made = old.new_zeros((self._rows, old.shape[1], self._room, old.shape[3]))
        made[: len(old), :, : old.shape[2]] = old
        return made

    def release(self) -> None:
        """Give all memory back; nothing is kept."""
        self._keys, self._values = [], []
        self._rows = self._room = 0

    def bytes(self) -> int:
        """Of all keys and values, room that is not filled included."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self._keys, *self._values))

    def aim(self, first: int, count: int, places: Any, longest: int) -> None:
        """What the next call of the model reads and writes.

        Args:
            first, count: rows.
            places: where the new tokens stand, shape (count, tokens); or where the first of them stands in all rows.
            longest: the longest row, new tokens included.
        """
        self._aim = (first, count, places, longest)

    def move(self, source: int, target: int, length: int) -> None:
        """A row takes another's place; one that has no tokens yet may have no memory either."""
        if not length:
            return
        for tensor in (*self._keys, *self._values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the new ones, shape (rows, heads, tokens, width); all that these rows have is returned."""
        if layer == len(self._keys):
            for store, new in ((self._keys, keys), (self._values, values)):
                store.append(new.new_zeros((self._rows, new.shape[1], self._room, new.shape[3])))
        first, count, places, longest = self._aim
        whole = []
        for tensor, new in ((self._keys[layer], keys), (self._values[layer], values)):
            rows = tensor[first : first + count]
            if isinstance(places, int):
                rows[:, :, places : places + new.shape[2]] = new
            else:
                rows.scatter_(2, places[:, None, :, None].expand(new.shape), new)
            whole.append(rows[:, :, :longest])
        return whole[0], whole[1]

    def get_seq_length(self, layer: int = 0) -> int:
        """Tokens that the longest row had before."""
        return self._aim[3] - 1
