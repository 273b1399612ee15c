"""A fingerprint of values that does not depend on the library, the chunks or the file that hold them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from weigh.data.table import batches

if TYPE_CHECKING:
    import polars as pl


class _ColumnDigest:
    """SHA-256 of one column, fed batch by batch: which rows are missing, then the values or lengths, then the text."""

    def __init__(self) -> None:
        self.parts = [hashlib.sha256() for _ in range(3)]

    def feed(self, values: pl.Series) -> None:
        import polars as pl

        missing, numbers, text = self.parts
        missing.update(values.is_null().cast(pl.UInt8).to_numpy().tobytes())
        if values.dtype in (pl.String, pl.Categorical, pl.Enum):
            filled = values.cast(pl.String).fill_null("")
            numbers.update(filled.str.len_bytes().cast(pl.UInt64).to_numpy().tobytes())
            text.update(str(filled.str.join("").item()).encode() if len(filled) else b"")
        elif values.dtype.is_float():
            numbers.update(values.fill_nan(float("nan")).fill_null(0.0).to_numpy().tobytes())
        elif values.dtype.is_integer() or values.dtype.is_temporal() or values.dtype == pl.Boolean:
            whole = values.cast(pl.UInt8) if values.dtype == pl.Boolean else values.to_physical()
            numbers.update(whole.fill_null(0).to_numpy().tobytes())
        else:
            text.update("".join(f"{value!r}\n" for value in values).encode())

    def digest(self) -> bytes:
        return b"".join(part.digest() for part in self.parts)


def digest(frame: pl.LazyFrame, size: int = 65_536) -> str:
    """64 hexadecimal digits over names, types and values; rows count in order, columns by name."""
    schema = dict(sorted(frame.collect_schema().items()))
    columns = {name: _ColumnDigest() for name in schema}
    for batch in batches(frame.select(schema.keys()), size):
        for name, column in columns.items():
            column.feed(batch[name])
    whole = hashlib.sha256()
    for name, dtype in schema.items():
        title = repr((name, _type_name(dtype))).encode()
        whole.update(len(title).to_bytes(8, "little") + title + columns[name].digest())
    return whole.hexdigest()


def _type_name(dtype: pl.DataType) -> str:
    """A type as its fingerprint sees it: text is text, however it is stored."""
    import polars as pl

    return "String" if dtype in (pl.String, pl.Categorical, pl.Enum) else str(dtype)
