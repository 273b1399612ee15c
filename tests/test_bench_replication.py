"""The benchmark of replication: a record is decided, edited and measured again."""

from __future__ import annotations

from pathlib import Path

from benchmarks.replication import edited, figures, replica


def test_a_record_is_replicated(tmp_path: Path):
    made = replica("cause/experiment", 1, True, tmp_path)
    assert made is not None and made.refused and made.loaded
    assert made.status in ("holds", "not settled")
    told = figures([made], {"cause/experiment": 0})
    assert told["records"] == told["edited_refused"] == 1
    assert sum(told[name] for name in ("holds", "contradicted", "not_settled")) == 1  # type: ignore[misc]


def test_one_byte_is_edited(tmp_path: Path):
    record = tmp_path / "record.md"
    record.write_bytes(bytes(range(256)))
    copies = [edited(record, seed).read_bytes() for seed in range(20)]
    assert {sum(a != b for a, b in zip(copy, record.read_bytes(), strict=True)) for copy in copies} == {1}
