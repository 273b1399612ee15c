"""Every way in which a table can be unfit for its use, and what the error says."""

import polars as pl
import pytest

from weigh.data import DataError, require

DAYS = pl.DataFrame(
    {
        "id": [1, 2, 3, 3],
        "day": ["2013-01-02", "2013-01-01", "2013-01-03", "2013-01-04"],
        "text": ["1", "2", "n/k", "4"],
        "gap": [None, float("nan"), None, None],
        "one": ["yes"] * 4,
        "late": [True, False, None, True],
        "score": [0.5, 0.5, float("nan"), 0.5],
    }
).with_columns(pl.col("day").str.to_date())


def refusal(table=DAYS, **arguments) -> str:
    with pytest.raises(DataError) as caught:
        require(table, **arguments)
    return str(caught.value)


def test_a_fit_table_comes_back():
    assert (
        require(DAYS, columns=["text"], numeric=["id", "late"], times=["day"], label="late", key=["day"])
        .collect()
        .height
        == 4
    )


def test_columns_exist_and_hold_something():
    assert "did you mean 'late'?" in refusal(columns=["lat"])
    assert "none of its 4 rows holds a value" in refusal(columns=["gap"])
    assert "without rows" in refusal(DAYS.clear(), columns=["id"])


def test_types():
    assert "row 2 holds 'n/k'" in refusal(numeric=["text"])
    assert "str.to_datetime" in refusal(times=["text"])


@pytest.mark.parametrize("label", ["one", "score"])
def test_a_label_needs_two_values(label):
    assert "nothing to learn" in refusal(label=label)
    assert "nothing to learn" in refusal(DAYS.with_columns(pl.col("one").cast(pl.Categorical)), label="one")


def test_order_and_keys():
    assert "2013-01-01" in refusal(sorted_by="day") and 'sort("day")' in refusal(sorted_by="day")
    assert "found 3 in row 3" in refusal(key=["id"])
    assert "name more columns" in refusal(key=["id", "one"])
