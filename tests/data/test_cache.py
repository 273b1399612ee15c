"""The cache after crashes: what was cut off is missing, what killed runs left is swept, a full disk is no verdict."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from weigh.choice import Halted
from weigh.data import cache
from weigh.engine.inline import stop_for


@pytest.mark.parametrize("left", [b"", b'{"megabytes": 1', b"[1]", b"\xff\xfe"])
def test_what_a_crash_left_is_as_good_as_missing(left: bytes, tmp_path: Path):
    file = tmp_path / "kept.json"
    assert cache.kept_json(file) is None
    file.write_bytes(left)
    assert cache.kept_json(file) is None
    file.write_text('{"megabytes": 1.5}')
    assert cache.kept_json(file) == {"megabytes": 1.5}


def test_what_killed_runs_left_is_swept_after_a_day(tmp_path: Path):
    old, young, other = (tmp_path / name for name in (f".{'a' * 32}", f".{'b' * 32}", ".mine"))
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "weights").write_text("1")
    for folder in (old, other):
        os.utime(folder, (time.time() - 2 * cache.DAY,) * 2)
    cache.sweep(tmp_path, f".{'[0-9a-f]' * 32}")
    assert sorted(tmp_path.iterdir()) == sorted([young, other])


def test_the_room_on_a_disk_is_that_of_the_nearest_folder(tmp_path: Path):
    there = os.statvfs(tmp_path)
    assert 0 < cache.free_bytes(tmp_path / "not" / "yet") <= there.f_blocks * there.f_frsize


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError(f"torch: {os.strerror(errno.EDQUOT)}"),
    ],
)
def test_a_full_disk_halts_the_run_and_judges_no_option(error: Exception):
    with pytest.raises(Halted, match=r"make room .* type the same again"):
        stop_for(error)


def test_other_errors_are_the_options_own():
    stop_for(RuntimeError("no kernel for this shape"))
