"""Figures as inline SVG: fixed size in CSS pixels, colours from the page, text as text, the same bytes every time."""

from __future__ import annotations

import io
import math
import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, TypeAlias

NARROW, WIDE = 370, 1020
"""Widths in CSS pixels: for a column or a phone, and for a whole laptop page."""

FONT = 13.0
COLOURS = (
    *("ink", "muted", "grid", "paper"),
    *("chosen", "tied", "undecided", "violates", "dominated", "failed"),
    *("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s0"),
)
"""Names of the page's colours (CSS variables); `s1` to `s8` tell lines apart, `s0` is any other line."""

SERIES = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")
DASHES: dict[str, Any] = {
    "s1": "-", "s2": (0, (6, 2)), "s3": (0, (2, 1.5)), "s4": (0, (8, 2, 2, 2)), "s5": (0, (4, 1)),
    "s6": (0, (1, 1.5)), "s7": (0, (10, 3)), "s8": "-", "s0": "-",
}  # fmt: skip
_ONE_AT_A_TIME = threading.RLock()

Scale: TypeAlias = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a figure's legend: its line or its mark as the figure draws it, and what that is."""

    colour: str
    label: str
    mark: Literal["line", "dot", "ring", "cross"] = "line"

    @property
    def svg(self) -> str:
        """The line or the mark, inline."""
        paint = f'stroke="var(--{self.colour})"'
        if self.mark == "cross":
            shape = f'<path d="M3 3 9 9M9 3 3 9" {paint} stroke-width="2.6"/>'
        elif self.mark != "line":
            fill = self.colour if self.mark == "dot" else "paper"
            shape = f'<circle cx="6" cy="6" r="4.4" fill="var(--{fill})" {paint} stroke-width="1.8"/>'
        else:
            style = DASHES[self.colour]
            dashes = "" if style == "-" else f' stroke-dasharray="{" ".join(f"{1.7 * x:g}" for x in style[1])}"'
            shape = f'<path d="M0 6H30" {paint} stroke-width="2"{dashes}/>'
        width = 30 if self.mark == "line" else 12
        return f'<svg class="key" viewBox="0 0 {width} 12" width="{width}" height="12" aria-hidden="true">{shape}</svg>'


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as the page shows it; `wide` is the same for wide screens, `code` a constraint beside the title."""

    title: str
    svg: str
    wide: str = ""
    legend: tuple[Key, ...] = ()
    note: str = ""
    code: str = ""


@contextmanager
def drawing() -> Iterator[None]:
    """Within it figures can be drawn: the library's settings are ours, and afterwards what they were."""
    import matplotlib

    with _ONE_AT_A_TIME, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's fonts draw, not ours
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {"svg.fonttype": "none", "svg.hashsalt": "weigh", "text.parse_math": False, "path.simplify": True}
        )
        yield


def colour(name: str) -> str:
    """The stand-in that becomes the page's colour of that name."""
    return f"#0000{COLOURS.index(name) + 1:02x}"


class Sheet:
    """One set of axes on an empty figure.

    Args:
        width: in CSS pixels.
        height: in CSS pixels.
        margins: left, right, top and bottom, in CSS pixels.
    """

    def __init__(self, width: float, height: float, margins: tuple[float, float, float, float]) -> None:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        left, right, top, bottom = margins
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
        FigureCanvasSVG(self._figure)
        box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
        self.axes: Any = self._figure.add_axes(box, frameon=False)
        self.axes.tick_params(length=0, labelsize=FONT - 1, labelcolor=colour("muted"), pad=4)
        self.axes.set_axisbelow(True)

    def write(self, x: float, y: float, text: str, *, shade: str = "ink", size: float = FONT, **style: Any) -> None:
        """Text at a place in CSS pixels from the left and from the top."""
        place = (x / self.width, 1 - y / self.height)
        text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
        self._figure.text(*place, text, color=colour(shade), fontsize=size, va=style.pop("va", "baseline"), **style)

    def ticks(self, axis: Literal["x", "y"], places: Sequence[float], labels: Sequence[str], grid: bool = True) -> None:
        """Marks of an axis, with hairlines across."""
        which = self.axes.xaxis if axis == "x" else self.axes.yaxis
        which.set_ticks(list(places), labels=list(labels))
        which.set_ticks([], minor=True)
        if grid:
            which.grid(True, color=colour("grid"), linewidth=1)

    def numbers(self, axis: Literal["x", "y"], low: float, high: float, scale: Scale, count: int = 4) -> None:
        """Limits of an axis, with marks at round numbers."""
        if axis == "x":
            self.axes.set_xscale(scale)
            self.axes.set_xlim(low, high)
        else:
            self.axes.set_yscale(scale)
            self.axes.set_ylim(low, high)
        places = round_numbers(low, high, scale, count)
        self.ticks(axis, places, mark_labels(places))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """CSS pixels, from the left and from the top, of a place in the units of the axes."""
        across, up = self.axes.transData.transform((x, y))
        return float(across), float(self.height - up)

    def line(self, x: Sequence[float], y: Sequence[float], shade: str, **style: Any) -> None:
        """A line, or a mark, through places in the units of the axes."""
        from matplotlib.lines import Line2D

        self.axes.add_line(Line2D(list(x), list(y), color=colour(shade), **style))

    def bar(self, x: float, low: float, high: float, shade: str) -> None:
        """An upright interval, between two places in the units of the y axis, `x` CSS pixels from the left."""
        from matplotlib.lines import Line2D

        ends = [1 - self.place(1, y)[1] / self.height for y in (low, high)]
        across, transform = [x / self.width] * 2, self._figure.transFigure
        self._figure.add_artist(Line2D(across, ends, color=colour(shade), linewidth=2, transform=transform))

    def area(self, corner: tuple[float, float], width: float, height: float, shade: str, alpha: float) -> None:
        """A filled rectangle, in the units of the axes."""
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle(corner, width, height, color=colour(shade), alpha=alpha, linewidth=0))

    def boxes(self, corners: Iterable[tuple[float, float, float, float]], **style: Any) -> None:
        """Rectangles (left, top, right, bottom, in the units of the axes) as one shape."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        found = [[(x, y), (right, y), (right, bottom), (x, bottom), (x, y)] for x, y, right, bottom in corners]
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(found)
        self.axes.add_patch(PathPatch(Path([point for box in found for point in box], codes), **style))

    def svg(self, key: str, title: str, text: str) -> str:
        """The figure as one inline `<svg>` with a title and a description; `key` makes its ids its own."""
        made = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        self._figure.savefig(made, format="svg", metadata=nothing)
        return _inline(made.getvalue(), key, title, text, self.width, self.height)


def _inline(text: str, key: str, title: str, description: str, width: float, height: float) -> str:
    """An SVG file as an element of a page: no header, no namespaces, own ids, colours of the page."""
    body = text[text.index("<svg") :]
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r' xlink:href="#([^"]+)"', rf' href="#{key}-\1"', body)
    used = set(re.findall(rf'href="#{re.escape(key)}-([^"]+)"', body)) | set(re.findall(r"url\(#([^)]+)\)", body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", body)
    body = re.sub(r"#0000([0-9a-f]{2})\b", lambda m: f"var(--{COLOURS[int(m[1], 16) - 1]})", body)
    body = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*", _font, body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"\n\s*", "\n", body).strip()
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-text"><title id="{key}-title">{escape(title)}</title>'
        f'<desc id="{key}-text">{escape(description)}</desc>\n{body}\n</svg>'
    )


def _font(match: re.Match[str]) -> str:
    weight = f"; font-weight: {match[1]}" if match[1] else ""
    return f"font-size: {match[2]}px{weight}"


# numbers on axes


def round_numbers(low: float, high: float, scale: Scale, count: int = 4) -> list[float]:
    """Round numbers between two ends, about `count` of them."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if scale == "log":
        for subs in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
            places = [x for x in LogLocator(subs=subs, numticks=20).tick_values(low, high) if low <= x <= high]
            if len(places) >= 3:
                return places[:: math.ceil(len(places) / (count + 1))]
    locator = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10])
    return [float(x) for x in locator.tick_values(low, high) if low - 1e-12 <= x <= high + 1e-12]


def mark_labels(places: Sequence[float]) -> list[str]:
    """The numbers as text, all with as many decimals.

    >>> mark_labels([0.0, 0.25, 0.5]), mark_labels([1000.0, 2000.0]), mark_labels([-0.1, 0.0])
    (['0.00', '0.25', '0.50'], ['1,000', '2,000'], ['−0.1', '0.0'])
    """
    if not places:
        return []
    largest = max(abs(x) for x in places)
    if largest >= 1e7 or 0 < largest < 1e-4:
        return [f"{x:.3g}".replace("-", "\N{MINUS SIGN}") for x in places]
    decimals = next((d for d in range(7) if all(abs(round(x, d) - x) <= 1e-9 * largest for x in places)), 6)
    if max(places) > 100 * min((abs(x) for x in places if x), default=1.0) and decimals:
        return [f"{x:,.4g}".replace("-", "\N{MINUS SIGN}") for x in places]
    return [f"{x + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}") for x in places]


def text_width(text: str, size: float = FONT) -> float:
    """About how many CSS pixels a text takes, whatever the reader's font."""
    return sum(0.34 if c in "il.,:;|'![]() " else 0.9 if c in "mwMW@%" else 0.61 for c in text) * size


def shortened(text: str, room: float, size: float = FONT) -> str:
    """The text, its middle left out where it takes more than `room` CSS pixels.

    >>> shortened("static:calibration=entropy,per_channel=true", 120)
    'static:ca…l=true'
    """
    if text_width(text, size) <= room:
        return text
    keep = len(text) - 1
    while keep > 6 and text_width(text[:keep], size) + size > room:
        keep -= 1
    head = keep - keep * 2 // 5
    return f"{text[:head]}…{text[len(text) - (keep - head) :]}"


def unbroken(text: str) -> str:
    """The text in one piece: its blanks and signs do not end lines.

    >>> unbroken("a - 2")
    'a\xa0-\u2060\xa02'
    """
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "-\N{WORD JOINER}")


def wrapped(text: str, room: float, most: int = 2, size: float = FONT) -> list[str]:
    """The text on up to `most` lines of up to `room` CSS pixels, broken after a sign or a blank; the last is shortened.

    >>> wrapped("static:calibration=entropy", 150)
    ['static:calibration=', 'entropy']
    """
    lines: list[str] = []
    rest = text
    while text_width(rest, size) > room and len(lines) < most - 1:
        fits = [m.end() for m in re.finditer(r"[\s:,=/_]", rest) if text_width(rest[: m.end()].rstrip(), size) <= room]
        if not fits:
            break
        lines.append(rest[: fits[-1]].rstrip())
        rest = rest[fits[-1] :]
    return [*lines, shortened(rest, room, size)]
