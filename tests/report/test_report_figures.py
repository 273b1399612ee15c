"""What figures draw, against the numbers that they were given."""

from __future__ import annotations

import math
import re
from pathlib import Path

import matplotlib
import pytest
import story
from pydantic import ValidationError

from weigh.choice import Curves, Line, Table
from weigh.decision import Check, Constraint, Estimate
from weigh.evidence import Evidence
from weigh.report.canvas import Sheet, drawing, mark_labels, round_numbers, shortened, text_width, wrapped
from weigh.report.curves import picture
from weigh.report.facts import as_shown
from weigh.report.forest import Bound, Row, forest
from weigh.report.history import _follow, _questions
from weigh.report.margins import _text
from weigh.report.rows import known


def test_drawing_leaves_the_settings_of_the_library_alone():
    matplotlib.rcParams["font.size"] = 17
    before = dict(matplotlib.rcParams)
    with drawing():
        assert matplotlib.rcParams["font.size"] == 10 and matplotlib.rcParams["svg.fonttype"] == "none"
    assert dict(matplotlib.rcParams) == before
    matplotlib.rcdefaults()


def test_the_last_point_of_a_line_is_the_interval_that_was_judged(told):
    """Followed block by block, the race ends where the decision did."""
    ledger, decision = told
    lock, rows = ledger.lock(decision.lock), ledger.evidence(decision.lock)
    blocks: dict[int, list[Evidence]] = {}
    for row in rows:
        if row.block < lock.blocks.race:
            blocks.setdefault(row.block, []).append(row)
    objective, lead, limit = _follow(lock, decision, list(blocks.items()), _questions(lock, decision))
    for trace in objective:
        judged = decision.standing(trace.name).measured["latency"]
        assert (trace.y[-1], trace.low[-1], trace.high[-1]) == (judged.estimate, judged.low, judged.high)
        assert trace.x[-1] == decision.standing(trace.name).blocks
    for trace in limit:
        check = decision.standing(trace.name).checks[0].interval
        assert (trace.y[-1], trace.low[-1], trace.high[-1]) == (check.estimate, check.low, check.high)
    assert {trace.name for trace in lead} == {s.option for s in decision.standings} - {decision.chosen}
    assert max(len(trace.x) for trace in objective) <= 60


def marks(svg: str) -> list[float]:
    return [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"', svg)]


def test_a_dot_stands_where_its_number_is():
    rows = [Row(str(i), "chosen", float(x), float(x), float(x), str(x)) for i, x in enumerate((0, 25, 100))]
    with drawing():
        made = forest("k", "t", rows, "x", Bound("<=", 50.0))
    zero, quarter, whole = sorted(marks(made.svg))
    assert quarter - zero == pytest.approx((whole - zero) / 4, abs=0.01)


def test_an_interval_that_leaves_the_picture_ends_in_an_arrow():
    def row(low: float | None, high: float | None, shade: str = "chosen") -> Row:
        return Row("a", shade, 1.0, low, high, "")

    def arrows(*rows: Row) -> int:
        with drawing():
            return len(marks(forest("k", "t", rows, "x").svg)) - len(rows)

    assert arrows(row(1.0, 1.0)) == 0  # exact: no interval at all
    assert arrows(row(0.5, 1.5)) == 2  # two ends
    with drawing():
        known, open_ = (forest("k", "t", [row(0.5, high)], "x").svg for high in (1.5, None))
    shapes = [set(re.findall(r'<path id="k-(\w+)"', svg)) for svg in (known, open_)]
    assert len(shapes[1]) == len(shapes[0]) + 1  # the open end has a shape of its own
    assert arrows(Row("a", "dominated", None, None, None, "not known")) == -1
    assert arrows(row(None, None)) == 0  # nothing is known: no bar


def test_far_intervals_of_options_that_left_do_not_squeeze_the_rest():
    near = Row("near", "chosen", 1.0, 0.9, 1.1, "")
    far = Row("far", "dominated", 1.2, -500.0, 500.0, "")
    with drawing():
        svg = forest("k", "t", [near, far], "x").svg
    texts = [float(t.replace("−", "-")) for t in re.findall(r">(−?[\d.]+)</text>", svg)]
    assert texts and max(map(abs, texts)) < 5


def test_where_no_option_meets_a_bound_every_interval_is_whole():
    rows = [Row(name, "violates", x, x - 90.0, x + 90.0, "") for name, x in (("a", 1.0), ("b", 2.0))]
    with drawing():
        alone = forest("k", "t", rows, "x", Bound("<=", 0.5)).svg
        beside = forest("k", "t", [*rows, Row("c", "chosen", 0.4, 0.3, 0.45, "")], "x", Bound("<=", 0.5)).svg
    assert ">50<" in alone and ">50<" not in beside


def test_a_bound_says_its_unit():
    with drawing():
        made = forest("k", "t", [Row("a", "chosen", 1.0, 1.0, 1.0, "")], "x", Bound("<=", 2.0, "ms"), "p95 <= 2")
    assert ">must be at most 2 ms<" in made.svg and " " not in made.code


@pytest.mark.parametrize(
    "places", [[0.0, 0.25, 0.5], [1000.0, 2000.0], [-0.1, 0.0], [1e-6, 2e-6], [1e9, 2e9], [0.01, 1.0, 100.0], [3.0]]
)
def test_marks_read_back_as_what_they_stand_for(places: list[float]):
    read = [float(text.replace(",", "").replace("−", "-")) for text in mark_labels(places)]
    assert read == pytest.approx(places, rel=1e-3)


@pytest.mark.parametrize("low,high", [(0.0, 1.0), (-3.0, 7.0), (0.001, 0.0011), (5.0, 5000.0), (1e8, 3e8)])
def test_round_numbers_lie_between_the_ends(low: float, high: float):
    for scale in ("linear", "log") if low > 0 else ("linear",):
        places = round_numbers(low, high, scale)
        assert 2 <= len(places) <= 8 and all(low - 1e-9 <= x <= high * (1 + 1e-9) for x in places)


def test_long_names_keep_both_ends():
    assert shortened("short", 200) == "short"
    name = "static:" + "calibration=entropy," * 8 + "bits=4"
    cut = shortened(name, 150)
    assert cut.startswith("static:") and cut.endswith("bits=4") and text_width(cut) <= 165
    first, second = wrapped(name, 150)
    assert name.startswith(first) and first.endswith("=") and second.endswith("bits=4") and "…" in second
    assert wrapped("a word and another", 400) == ["a word and another"]


def test_letters_of_any_script_are_drawn_without_a_warning():
    with drawing():
        sheet = Sheet(200, 100, (10, 10, 10, 10))
        sheet.write(5, 20, "量化 💾 $x^2$")
        assert "量化 💾 $x^2$" in sheet.svg("k", "t", "d")


def curves(*lines: Line) -> Curves:
    return Curves(title="t", x="x", y="y", lines=lines)


def drawn(*lines: Line) -> tuple[str, str, str]:
    with drawing():
        made = picture("k", curves(*lines))
    return made.svg, made.wide, made.note


def test_curves_over_dates_have_dates_as_marks():
    svg, _, _ = drawn(Line(name="a", x=("2013-01-01", "2013-07-01", "2013-12-31"), y=(1.0, 2.0, 3.0)))
    assert ">Jul<" in svg and svg.count(">2013<") == 1 and "2013-07-01" not in svg


@pytest.mark.parametrize(
    "x,expected",
    [
        (("2013-01-03", "2013-02-20"), [">5 Jan<", ">2013<"]),
        (("2013-11-01", "2014-03-01"), [">Nov<", ">2013<", ">Jan<", ">2014<"]),
        (("2001-01-01", "2014-03-01"), [">2004<", ">2012<"]),
        (("2013-03-01 00:00", "2013-03-02 12:00"), [">00:00<", ">1 Mar 2013<", ">2 Mar 2013<"]),
        (("2013-03-01",), [">Mar<", ">2013<"]),
    ],
)
def test_dates_are_whole(x: tuple[str, ...], expected: list[str]):
    svg, _, _ = drawn(Line(name="a", x=x, y=tuple(map(float, range(len(x))))))
    assert [text for text in expected if text not in svg] == []


def test_a_line_that_is_no_option_takes_a_colour_of_its_own():
    lines = [Line(name=name, x=(1.0, 2.0), y=(1.0, 2.0)) for name in ("b", "other", "a")]
    with drawing():
        made = picture("k", curves(*lines), {"a": "s1", "b": "s2", "c": "s3"})
    shades = {key.label: key.colour for key in made.legend}
    assert shades == {"b": "s2", "other": "s3", "a": "s1"}


def test_a_level_is_drawn_and_named():
    line = Line(name="a", x=(1.0, 2.0), y=(1.0, 2.0))
    with drawing():
        plain, level = (picture("k", Curves(title="t", x="x", y="y", lines=(line,), level=y)) for y in (None, 5.0))
    assert ">level 5<" in level.svg and "level" not in plain.svg


def test_curves_over_categories_are_rows_with_their_names():
    svg, _, _ = drawn(Line(name="a", x=("carrier", "origin"), y=(1.0, 2.0), low=(0.5, None), high=(1.5, None)))
    assert "carrier" in svg and "origin" in svg and re.search(r"1\.00? \[0\.50?, 1\.50?\]", svg)


def test_curves_over_names_that_count_are_lines():
    svg, _, _ = drawn(Line(name="a", x=tuple(f"week {i}" for i in range(30)), y=tuple(map(float, range(30)))))
    assert ">week 0<" in svg and svg.count(">week") < 12


def test_curves_without_a_number_say_so():
    assert drawn(Line(name="a", x=(1.0,), y=(None,)))[2] == "There is nothing to draw."
    assert "<svg" in drawn(Line(name="a", x=(1.0,), y=(2.0,)))[0]
    assert "<svg" in drawn(Line(name="a", x=(1.0, 2.0), y=(None, 2.0)))[0]


def test_a_value_that_is_not_known_is_none_and_never_nan():
    """JSON has no NaN: a curve that held one could not be read back from the ledger."""
    with pytest.raises(ValidationError, match="finite number"):
        Line(name="a", x=(1.0, 2.0), y=(math.nan, 2.0))


def estimate(low: float, high: float) -> Estimate:
    return Estimate(estimate=(low + high) / 2, low=low, high=high, n=9, method="m", exact=True, assumption="")


@pytest.mark.parametrize(
    "constraint,interval,met,expected",
    [
        ("accuracy >= baseline - 0.02", (-0.01234, 0.01), True, "accuracy >= baseline - 0.0124"),
        ("accuracy >= 0.9", (0.91237, 0.95), True, "accuracy >= 0.912"),
        ("size <= 50", (15.8765, 15.8765), True, "size <= 15.9"),
        ("size <= 50", (60.123, 61.0), False, "size <= 60.2"),
        ("latency <= 0.8 * baseline", (0.9121, 0.95), False, "latency <= 0.913 * baseline"),
        ("accuracy >= baseline - 0.02", (-0.09, -0.03456), False, "accuracy >= baseline - 0.0346"),
    ],
)
def test_the_bound_that_is_named_would_change_the_verdict(
    constraint: str, interval: tuple[float, float], met: bool, expected: str
):
    """A bound that is met still is at the one named; one that is broken is no longer broken there."""
    parsed, moved = Constraint.parse(constraint), Constraint.parse(expected)
    text = _text(story.lock(["none"]), parsed, Check(constraint=constraint, interval=estimate(*interval), met=met))
    assert f"`{expected}`" in text
    low, high = interval
    if met:
        assert high <= moved.bound if parsed.op == "<=" else low >= moved.bound
    else:
        assert low <= moved.bound if parsed.op == "<=" else high >= moved.bound


def test_cells_and_columns_of_numbers():
    rows = (("x", 1, None, 2.0, 1.0, 3.5), ("y", 1234567, None, 20.0, None, None))
    shown, figures = as_shown(Table(title="t", columns=("a", "b", "c", "d", "low", "high"), rows=rows))
    assert shown.columns == ("a", "b", "c", "d")
    assert shown.rows == (("x", "1", "–", "2.0 [1.0, 3.5]"), ("y", "1,234,567", "–", "20"))
    assert figures == [False, True, True, True]


def test_options_that_break_a_constraint_are_not_on_the_front(told, page):
    legend = re.findall(r"<span>(\d+ .*?)</span>", page.replace("<wbr>", ""))
    front = {item.split(":")[0].split()[1] for item in legend if "on the front" in item}
    decision = told[1]
    out = {s.option for s in decision.standings if s.outcome == "violates"}
    assert front and decision.chosen in front and not front & out


def test_an_interval_over_a_whole_range_says_nothing():
    accuracy, latency = story.MEASURES[2], story.MEASURES[0]
    assert known(accuracy, estimate(0.0, 1.0)).high is None and known(accuracy, estimate(0.0, 0.9)).high == 0.9
    assert known(accuracy, estimate(-1.0, 1.0), compared=True).low is None
    assert known(accuracy, estimate(-0.9, 1.0), compared=True).low == -0.9
    assert known(latency, estimate(0.0, 1.0)).high == 1.0


def test_marks_are_found(tmp_path: Path):
    """The reader of dots that other tests lean on reads dots."""
    with drawing():
        sheet = Sheet(100, 100, (0, 0, 0, 0))
        sheet.axes.set_xlim(0, 100)
        sheet.axes.set_ylim(0, 100)
        sheet.line([30.0], [50.0], "chosen", marker="o")
        assert marks(sheet.svg("k", "t", "d")) == [pytest.approx(30.0)]
