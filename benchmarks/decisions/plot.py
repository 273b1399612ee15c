"""The table as a picture: what is shipped costs against what was measured, violators marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._result import RESULTS
from benchmarks.decisions.score import Score

TARGET_COST, TARGET_MEASURED, TARGET_VIOLATORS = 1.03, 0.10, 0.05
_SOUND, _UNSOUND, _LINES = "#1b7f5c", "#c0392b", "#8a8a8a"


def draw(rules: Mapping[str, Mapping[str, Any]], families: Mapping[str, Score], path: Path | None = None) -> Path:
    """Write ``decisions.svg``.

    Args:
        rules: by rule its figures over all families.
        families: weigh's scores by family, drawn lightly; none where weigh did not play.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "decisions", "font.size": 10}):
        figure = Figure(figsize=(9, 5.4), layout="constrained")
        axes = figure.add_subplot()
        for score in families.values():
            place = (100 * score.measured_fraction, 100 * (score.cost_ratio - 1.0))
            axes.scatter(*place, s=26, color=_colour(score.violators), alpha=0.25, lw=0)
        told = {rule: of for rule, of in rules.items() if of["cost_ratio_mean"] is not None}
        marks = [_mark(axes, of) for of in told.values()]
        _frame(axes)
        figure.draw_without_rendering()
        boxes = [_box(axes, *mark) for mark in marks]
        for mark, (rule, of) in zip(marks, told.items(), strict=True):
            boxes.append(_name(axes, *mark, f"{rule.replace('_', ' ')}\n{100 * of['violators_max']:.1f} %", boxes))
        path = path or RESULTS / "decisions.svg"
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _colour(violators: float) -> str:
    return _UNSOUND if violators > TARGET_VIOLATORS else _SOUND


def _mark(axes: Any, of: Mapping[str, Any]) -> tuple[float, float, float]:
    """Draw a rule; where, and its radius in points."""
    x, y = 100 * of["measured_fraction_mean"], 100 * (of["cost_ratio_mean"] - 1.0)
    area = 60 + 900 * of["violators_max"]
    axes.scatter(x, y, s=area, color=_colour(of["violators_max"]), alpha=0.85, zorder=3, edgecolor="white")
    return x, y, area**0.5 / 2


def _box(axes: Any, x: float, y: float, radius: float) -> Any:
    from matplotlib.transforms import Bbox

    (left, bottom), reach = axes.transData.transform((x, y)), radius * axes.figure.dpi / 72
    return Bbox.from_extents(left - reach, bottom - reach, left + reach, bottom + reach)


def _name(axes: Any, x: float, y: float, radius: float, text: str, taken: Sequence[Any]) -> Any:
    """Write a rule's name beside its mark, where nothing else stands; the box that it takes."""
    away = radius + 2
    places = ((0, away, "center", "bottom"), (0, -away, "center", "top"), (away, 0, "left", "center"))
    made = None
    for right, up, across, along in (*places, (-away, 0, "right", "center"), places[0]):
        if made is not None:
            made.remove()
        made = axes.annotate(
            text, (x, y), (right, up), textcoords="offset points", ha=across, va=along, linespacing=0.95
        )
        made.set(fontweight="bold" if text.startswith("weigh") else "normal", zorder=4)
        made.set_bbox({"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5})
        box = made.get_window_extent()
        if not any(box.overlaps(one) for one in taken):
            break
    return box


def _frame(axes: Any) -> None:
    axes.set_yscale("symlog", linthresh=1.0, linscale=0.7)
    axes.set_ylim(-0.15, max(200.0, axes.get_ylim()[1]))
    axes.set_yticks([0, 1, 3, 10, 30, 100], ["0 %", "1 %", "3 %", "10 %", "30 %", "100 %"])
    axes.set_xscale("log")
    axes.set_xlim(min(axes.get_xlim()[0], 1.5), 140)
    axes.set_xticks([2, 5, 10, 20, 50, 100], [f"{share} %" for share in (2, 5, 10, 20, 50, 100)])
    axes.minorticks_off()
    axes.axhline(100 * (TARGET_COST - 1.0), color=_LINES, lw=1, ls="--", zorder=1)
    axes.axvline(100 * TARGET_MEASURED, color=_LINES, lw=1, ls="--", zorder=1)
    corner = (axes.get_xlim()[0], 0.97 * axes.get_ylim()[1])
    axes.text(1.03 * corner[0], 100 * (TARGET_COST - 1.0), "target: at most 3 % dearer", va="bottom", color=_LINES)
    axes.text(9.7, corner[1], "target: at most 10 % measured", va="top", ha="right", color=_LINES)
    axes.set_xlabel("measured, of every option on every unit (log scale)")
    axes.set_ylabel("dearer than the oracle's choice")
    title = "Per cent: violators shipped in the worst family; red where more than 5 %. Small marks: weigh, by family"
    axes.set_title(title, fontsize=10, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
