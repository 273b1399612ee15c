"""Numbers as text, with the digits that their intervals support: one way to say them, wherever they are said."""

from __future__ import annotations

import math

_SIGNIFICANT, _MORE = 3, 2
"""Figures that an estimate has at least, and how many digits beyond its interval's that may take."""


def number(value: float | None) -> str:
    """A number by itself, with four figures.

    >>> number(0.94213), number(1234567.0), number(0.00001234), number(None)
    ('0.9421', '1,234,567', '0.00001234', '?')
    """
    if value is None:
        return "?"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    text = f"{value:.4g}"
    return f"{value:.{3 - _exponent(value)}f}".rstrip("0") if "e" in text and abs(value) > 1e-9 else text


def ends(middle: float | None, low: float | None, high: float | None, percent: bool = False) -> str:
    """An estimate with its interval; ``?`` stands for an end that is None or infinite: not known.

    >>> ends(0.94213, 0.9351, 0.9492), ends(0.12, 0.03, None, percent=True)
    ('0.942 [0.935, 0.949]', '12% [3%, ?]')
    >>> ends(0.16861, 0.02, 0.39), ends(0.16861, None, None), ends(0.0223, 0.0223, 0.0223)
    ('0.169 [0.020, 0.390]', '0.169 (no interval)', '0.0223')
    >>> ends(0.0124, 0.0122, 0.0653), ends(-0.00006, -0.0176, 0.0177)
    ('0.0124 [0.0122, 0.0653]', '-0.00006 [-0.01760, 0.01770]')
    """
    factor, sign = (100.0, "%") if percent else (1.0, "")
    middle, low, high = (None if x is None or not math.isfinite(x) else x * factor for x in (middle, low, high))
    if low is None and high is None:
        return "not known" if middle is None else f"{_rounded(middle)}{sign} (no interval)"
    if low == high:
        return number(middle) + sign
    text, first, last = _aligned(middle, low, high)
    return f"{text}{sign} [{first}{sign if low is not None else ''}, {last}{sign if high is not None else ''}]"


def _aligned(middle: float | None, low: float | None, high: float | None) -> tuple[str, str, str]:
    """The three with the same number of digits after the point, and an end that differs looks so."""
    if low is None or high is None or not 1e-9 < high - low < 1e7:
        return number(middle), number(low), number(high)
    least = digits = max(0, 1 - _exponent(high - low))
    if middle:
        digits = max(digits, min(_SIGNIFICANT - 1 - _exponent(middle), digits + _MORE))
    made = _at(digits, middle, low, high)
    if digits == least and any(text == made[0] and end != middle for text, end in ((made[1], low), (made[2], high))):
        return _at(digits + 1, middle, low, high)
    if digits > least and all(text.endswith(("0", "?")) for text in made):
        return _at(digits - 1, middle, low, high)
    return made


def _at(digits: int, middle: float | None, low: float, high: float) -> tuple[str, str, str]:
    return _fixed(middle, digits), _fixed(low, digits), _fixed(high, digits)


def _fixed(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"  # + 0.0: no minus before a zero


def _rounded(value: float) -> str:
    if value == 0 or not 1e-9 < abs(value) < 1e7:
        return number(value)
    return _fixed(value, max(0, _SIGNIFICANT - 1 - _exponent(value)))


def _exponent(value: float) -> int:
    """The power of ten of the first figure, of the value in six figures."""
    return int(f"{value:.5e}".rpartition("e")[2])


def with_unit(text: str, unit: str) -> str:
    """A figure with its unit, as it stands in a sentence.

    >>> with_unit("0.156 [0.024, 0.283]", "of drifts"), with_unit("2.1", "ms"), with_unit("0.9", "share")
    ('0.156 [0.024, 0.283] (share of drifts)', '2.1 ms', '0.9')
    """
    if unit.startswith(("of ", "share of ")):
        return f"{text} (share {unit.removeprefix('share ')})"
    return text if unit in ("", "share") else f"{text} {unit}"
