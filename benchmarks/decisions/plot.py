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
            axes.scatter(
                score.measured_fraction, score.cost_ratio, s=28, color=_colour(score.violators), alpha=0.25, lw=0
            )
        for rule, of in rules.items():
            _mark(axes, rule, of)
        _frame(axes)
        path = path or RESULTS / "decisions.svg"
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _colour(violators: float) -> str:
    return _UNSOUND if violators > TARGET_VIOLATORS else _SOUND


def _mark(axes: Any, rule: str, of: Mapping[str, Any]) -> None:
    x, y, worst = of["measured_fraction_mean"], of["cost_ratio_mean"], of["violators_max"]
    if x is None or y is None:
        return
    axes.scatter(x, y, s=60 + 900 * worst, color=_colour(worst), alpha=0.85, zorder=3, edgecolor="white")
    weight = "bold" if rule == "weigh" else "normal"
    text = f"{rule}  {100 * worst:.1f} %"
    axes.annotate(text, (x, y), (9, 7), textcoords="offset points", fontweight=weight, zorder=4)


def _frame(axes: Any) -> None:
    axes.axhline(TARGET_COST, color=_LINES, lw=1, ls="--", zorder=1)
    axes.axvline(TARGET_MEASURED, color=_LINES, lw=1, ls="--", zorder=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.02), max(1.3, high))
    axes.set_ylim(bottom=min(0.99, axes.get_ylim()[0]))
    ticks = [share for share in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if share >= min(low, 0.02)]
    axes.set_xticks(ticks, [f"{100 * share:g} %" for share in ticks])
    axes.minorticks_off()
    axes.text(axes.get_xlim()[1], TARGET_COST, f"target {TARGET_COST} ", va="bottom", ha="right", color=_LINES)
    axes.text(TARGET_MEASURED, axes.get_ylim()[1], " target 10 %", va="top", ha="left", color=_LINES)
    axes.set_xlabel("measured, as a share of measuring every option on every unit (log scale)")
    axes.set_ylabel("objective of what was shipped / the oracle's")
    axes.set_title(
        "Per cent: violators shipped in the worst family; red is more than 5 %. Small marks: weigh, family by family",
        fontsize=10,
        loc="left",
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
