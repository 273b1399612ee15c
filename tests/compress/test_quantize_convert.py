"""The chosen model as a file: what was measured, byte by byte, whatever happened to the cache."""

from __future__ import annotations

import hashlib
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from widths import SIZES

from weigh import catalog
from weigh.choice import Block, Unfit, UsageError
from weigh.compress.quantize import Calibration, Quantize, Quantizer, QuantizeTask
from weigh.model.rows_bench import RowsBench
from weigh.model.source import Source
from weigh.model.write import convert

SPECS = ["none", "float16", "int8_dynamic", "int8_static:calibration=entropy", "int8_per_channel"]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("spec", SPECS)
def test_the_file_is_the_one_that_was_measured(
    choice: Quantize, plain: QuantizeTask, cache: Path, tmp_path: Path, spec: str
) -> None:
    option, bench = catalog.find(choice, spec), RowsBench(plain, seed=7)
    assert isinstance(option, Quantizer)
    measured = bench.prepare(option)
    size = bench.trial(measured, Block(index=0, seed=0))["size"]
    kept = measured.made.sha256
    shutil.rmtree(cache, ignore_errors=True)
    path = convert(plain, option, tmp_path / "served" / "model.onnx")
    assert digest(path) == kept and path.stat().st_size / 1e6 == size
    assert [entry.name for entry in path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(path)


@pytest.mark.parametrize("damage", ["cut", "deleted", "half of a folder"])
def test_a_damaged_cache_is_made_good(
    choice: Quantize, plain: QuantizeTask, cache: Path, tmp_path: Path, damage: str
) -> None:
    option = catalog.find(choice, "float16")
    assert isinstance(option, Quantizer)
    kept = digest(convert(plain, option, tmp_path / "first.onnx"))
    (folder,) = (cache / "artefacts").iterdir()
    if damage == "cut":
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:500])
    else:
        (folder / ("model.onnx" if damage == "deleted" else "artefact.txt")).unlink()
    assert digest(convert(plain, option, tmp_path / "again.onnx")) == kept
    assert list((cache / "artefacts").iterdir()) == [folder]
    assert sorted(entry.name for entry in folder.iterdir()) == ["artefact.txt", "model.onnx"]


def test_nothing_is_overwritten_unasked(choice: Quantize, plain: QuantizeTask, tmp_path: Path) -> None:
    option, to = catalog.find(choice, "float16"), tmp_path / "model.onnx"
    assert isinstance(option, Quantizer)
    to.write_text("mine")
    with pytest.raises(UsageError, match="overwrite=True"):
        convert(plain, option, to)
    assert to.read_text() == "mine"
    before = digest(convert(plain, option, to, overwrite=True)), to.stat().st_mtime_ns
    assert (digest(convert(plain, option, to)), to.stat().st_mtime_ns) == before
    for precious in (plain.model, plain.data):
        with pytest.raises(UsageError, match=r"never overwritten|name it so"):
            convert(plain, option, precious, overwrite=True)
    with pytest.raises(UsageError, match="is a folder; name the file"):
        convert(plain, option, tmp_path)


class Split(Quantizer):
    """Keeps its weights in a file beside the graph. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        made = folder / "graph.onnx"
        onnx.save(onnx.load(source.path), made, save_as_external_data=True, location="weights.bin", size_threshold=0)
        return made


def test_files_beside_the_model_are_weighed_and_copied(plain: QuantizeTask, tmp_path: Path) -> None:
    bench = RowsBench(plain, seed=0)
    subject = bench.prepare(Split())
    size = bench.trial(subject, Block(index=0, seed=0))["size"]
    weights = sum(4 * (a * b + b) for a, b in pairwise(SIZES))
    assert size == pytest.approx(plain.model.stat().st_size / 1e6, rel=0.1)
    assert weights / 1e6 < size
    path = convert(plain, Split(), tmp_path / "served" / "split.onnx")
    assert sum(entry.stat().st_size for entry in path.parent.iterdir()) / 1e6 == size
    feed = {"X": np.load(plain.data)["X"][:5]}
    again, original = (onnxruntime.InferenceSession(model).run(None, feed)[0] for model in (path, plain.model))
    np.testing.assert_array_equal(again, original)


class Garbled(Quantizer):
    """Writes what is no model. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        (folder / "model.onnx").write_bytes(b"garbled")
        return folder / "model.onnx"


class Elsewhere(Quantizer):
    """Copies the model to a place of its own. Source: none."""

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        return Path(shutil.copy(source.path, folder.parent / "mine.onnx"))


def test_what_cannot_be_loaded_is_unfit_and_not_kept(plain: QuantizeTask, cache: Path) -> None:
    with pytest.raises(Unfit, match="cannot load what came out") as refusal:
        RowsBench(plain, seed=0).prepare(Garbled())
    assert str(cache) not in str(refusal.value)
    assert list((cache / "artefacts").iterdir()) == []


def test_an_option_writes_where_it_is_told(plain: QuantizeTask) -> None:
    with pytest.raises(ValueError, match="outside the folder"):
        RowsBench(plain, seed=0).prepare(Elsewhere())
