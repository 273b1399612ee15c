"""What an experiment says, in words."""

from __future__ import annotations

import math


def figures(effect: float, low: float | None, high: float | None, base: float) -> str:
    """An effect with its interval, to three figures of the interval's width, and as a share of the control's mean.

    >>> figures(0.017138, 0.011031, 0.023245, 0.1643)
    '+0.0171 [+0.0110, +0.0232] (+10.4% of 0.164)'
    >>> figures(1234.5, 900.1, 1568.9, 0.0), figures(0.5, None, None, 0.0)
    ('+1,234 [+900, +1,569]', '+0.5 [?, ?]')
    """
    share = f" ({effect / abs(base):+.1%} of {base:.3g})" if abs(base) > abs(effect) / 10 else ""
    if low is None or high is None:
        return f"{effect:+.3g} [?, ?]{share}"
    digits = max(0, 2 - math.floor(math.log10(high - low))) if high > low else 3
    return f"{effect:+,.{digits}f} [{low:+,.{digits}f}, {high:+,.{digits}f}]{share}"


def p_value(p: float) -> str:
    """A p-value as it is written.

    >>> p_value(3e-14), p_value(0.0123), p_value(1.0)
    ('p < 0.001', 'p = 0.012', 'p = 1')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def verdict(metric: str, control: str, treated: str, found: str) -> str:
    """What was found, in a clause."""
    if found == "nothing":
        return f"no difference in {metric} between {treated} and {control} was found"
    return f"{metric} is {found} under {treated} than under {control}"
