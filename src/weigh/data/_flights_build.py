"""From the package's CSV files to one row a flight, every feature known when the flight should leave."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FILES = ("flights.csv.zip", "weather.csv", "airports.csv")
WEATHER = ("temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
ATLANTIC = {"SJU": "America/Puerto_Rico", "BQN": "America/Puerto_Rico", "PSE": "America/Puerto_Rico"}
UNLISTED = {**ATLANTIC, "STT": "America/St_Thomas"}  # airports.csv lacks these four destinations
FASTEST_MPH = 231  # the highest surface wind ever measured at a staffed station; one reading says 1,048
LOOKBACK_HOURS, MARGIN_HOURS, STALE_HOURS = 3, 1, 3


def read_sources(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The flights, the weather and the airports as they come, `NA` as null."""
    import polars as pl

    def table(data: bytes) -> pl.DataFrame:
        numbers = dict.fromkeys(WEATHER, pl.Float64)
        return pl.read_csv(
            data, null_values="NA", try_parse_dates=True, schema_overrides=numbers, infer_schema_length=1000
        )

    with zipfile.ZipFile(folder / FILES[0]) as archive:
        flights = table(archive.read("flights.csv"))
    return flights, table((folder / FILES[1]).read_bytes()), table((folder / FILES[2]).read_bytes())


def build(flights: pl.DataFrame, weather: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """One row a flight in order of `time`; see `weigh.data.flights` for the columns."""
    from weigh.data.flights import COLUMNS

    frame = with_history(with_weather(with_schedule(flights, airports), weather))
    return frame.select(COLUMNS).sort("time", "flight_id")


def with_schedule(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """Add the moments in UTC, the identifier, the features of the schedule and the label."""
    import polars as pl

    time = pl.col("time_hour") + pl.duration(minutes="minute")
    local = pl.datetime("year", "month", "day", "hour", "minute").dt.strftime("%Y%m%dT%H%M")
    frame = _with_scheduled_arrival(flights.with_columns(time=time), airports)
    known = pl.col("scheduled_arrival") + pl.duration(minutes=pl.col("arr_delay").fill_null(0))
    return frame.with_columns(
        flight_id=pl.concat_str("carrier", "flight", pl.lit("-"), "origin", pl.lit("-"), local),
        weekday=pl.date("year", "month", "day").dt.weekday(),
        scheduled_minutes=(pl.col("scheduled_arrival") - pl.col("time")).dt.total_minutes(),
        origin_departures=pl.len().over("origin", "time_hour"),
        late=pl.col("arr_delay") > 15,
        label_time=known,
    )


def _with_scheduled_arrival(frame: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """The scheduled arrival is printed as local time without a date: it is the first such moment after departure."""
    import polars as pl

    listed = airports.filter(pl.col("tzone").str.contains("/"))
    zones = dict(zip(listed["faa"], listed["tzone"], strict=True)) | UNLISTED
    parts = []
    for (dest,), part in frame.with_columns(zone=pl.col("dest").replace_strict(zones)).group_by("zone"):
        zone = str(dest)
        day = pl.col("time").dt.convert_time_zone(zone).dt.truncate("1d").dt.replace_time_zone(None)
        clock = pl.col("sched_arr_time")
        printed = day + pl.duration(hours=clock // 100, minutes=clock % 100)
        parts.append(part.with_columns(scheduled_arrival=_first_after(pl.col("time"), printed, zone)))
    return pl.concat(parts)


def _first_after(time: pl.Expr, local: pl.Expr, zone: str) -> pl.Expr:
    import polars as pl

    def utc(moment: pl.Expr) -> pl.Expr:
        there = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        return there.dt.convert_time_zone("UTC")

    today = utc(local)
    return pl.when(today > time).then(today).otherwise(utc(local + pl.duration(days=1)))


def with_weather(frame: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Add the origin's weather of the last hour that was complete at scheduled departure.

    The record stamped 10:00 gathers readings up to 10:51 and the rain of the whole hour, so it counts as known at
    11:00. A record older than three hours is not used: the features are then null.
    """
    import polars as pl

    wind = pl.when(pl.col("wind_speed") <= FASTEST_MPH).then(pl.col("wind_speed"))
    known = weather.select("origin", *WEATHER, known_at=pl.col("time_hour") + pl.duration(hours=1)).with_columns(
        wind_speed=wind
    )
    return frame.sort("time").join_asof(
        known.sort("known_at"),
        left_on="time",
        right_on="known_at",
        by="origin",
        strategy="backward",
        tolerance=f"{STALE_HOURS}h",
        check_sortedness=False,
    )


def with_history(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the mean departure delay, in minutes, of what really left the origin 4 h to 1 h before scheduled departure.

    It is null when nothing left in those three hours. A flight still at the gate an hour before is not counted, however
    late it is by then, since its delay is not known yet.
    """
    import polars as pl

    left = frame.filter(pl.col("dep_delay").is_not_null()).select(
        "origin", at=pl.col("time") + pl.duration(minutes="dep_delay"), delay="dep_delay"
    )
    left = left.sort("at").with_columns(
        total=pl.col("delay").cum_sum().over("origin"), number=pl.col("delay").cum_count().over("origin").cast(pl.Int64)
    )
    end, start = pl.duration(hours=MARGIN_HOURS), pl.duration(hours=MARGIN_HOURS + LOOKBACK_HOURS)
    frame = _until(_until(frame, left, end, "_end"), left, start, "_start")
    number = pl.col("number_end") - pl.col("number_start")
    mean = (pl.col("total_end") - pl.col("total_start")) / number
    return frame.with_columns(recent_dep_delay=pl.when(number > 0).then(mean))


def _until(frame: pl.DataFrame, left: pl.DataFrame, ago: pl.Expr, suffix: str) -> pl.DataFrame:
    """Add how many departures, and minutes of delay, the origin had seen strictly before `ago` ago."""
    import polars as pl

    seen = left.select("origin", "at", pl.col("total", "number").name.suffix(suffix))
    return (
        frame.with_columns(moment=pl.col("time") - ago)
        .sort("moment")
        .join_asof(
            seen,
            left_on="moment",
            right_on="at",
            by="origin",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .with_columns(pl.col(f"total{suffix}", f"number{suffix}").fill_null(0))
        .drop("at", "moment", strict=False)
    )
