"""The table as a picture: what is shipped costs against what was measured, violators marked."""

from __future__ import annotations

from collections.abc import Mapping
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
        for rule, of in rules.items():
            if of["cost_ratio_mean"] is not None:
                _mark(axes, rule, 100 * of["measured_fraction_mean"], 100 * (of["cost_ratio_mean"] - 1.0), of)
        _frame(axes)
        path = path or RESULTS / "decisions.svg"
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _colour(violators: float) -> str:
    return _UNSOUND if violators > TARGET_VIOLATORS else _SOUND


def _mark(axes: Any, rule: str, x: float, y: float, of: Mapping[str, Any]) -> None:
    worst = of["violators_max"]
    area = 60 + 900 * worst
    axes.scatter(x, y, s=area, color=_colour(worst), alpha=0.85, zorder=3, edgecolor="white")
    weight, above = "bold" if rule == "weigh" else "normal", 2 + area**0.5 / 2
    text = f"{rule.replace('_', ' ')}\n{100 * worst:.1f} %"
    paper = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}
    style = {"ha": "center", "fontweight": weight, "zorder": 2, "linespacing": 0.95, "bbox": paper}
    axes.annotate(text, (x, y), (0, above), textcoords="offset points", **style)


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
