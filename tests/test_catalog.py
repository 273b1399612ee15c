"""The three doors for options: the folder, a file, an entry point of an installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weigh import UsageError, catalog, decide
from weigh.engine.local import LocalEngine

MINE = '''
"""An outsider's drift test."""

from __future__ import annotations

from typing import Any

from weigh.monitor.drift import DriftTest, Sample


class {name}(DriftTest):
    """Distance of the first column's mean.

    Source: none, it is a test.
    """

    def fit(self, reference: Sample) -> Any:
        return reference.numbers[0].mean(), reference.numbers[0].std()

    def score(self, state: Any, window: Sample) -> float:
        return float(abs(window.numbers[0].mean() - state[0]) / state[1])
'''


def test_the_folder_is_the_registry() -> None:
    for choice in catalog.choices().values():
        files = Path(str(sys.modules[type(choice).__module__].__file__)).parent.glob("[a-z]*.py")
        assert {file.stem for file in files} <= set(catalog.options(choice))


def test_an_option_in_a_file_races_in_a_worker(tmp_path: Path) -> None:
    mine = tmp_path / "my_test.py"
    mine.write_text(MINE.format(name="Mine"))
    drift = catalog.choice("monitor/drift")
    task = drift.toy(tmp_path)
    decision = decide(
        "monitor/drift",
        task,
        options=[str(mine)],
        budget=2,
        ledger=tmp_path / "l.db",
        records=None,
        engine=LocalEngine(),
    )
    assert {s.option: s.blocks for s in decision.standings} == {"mean_shift": 2, "my_test": 2}
    locked = catalog.lock_option(drift, catalog.find(drift, str(mine)))
    assert locked.code.startswith("sha256:") and locked.source == f"{mine}:Mine"


def test_an_option_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outsider_tests.py").write_text(MINE.format(name="Outsider"))
    info = tmp_path / "outsider-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outsider\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[weigh.options]\noutsider = outsider_tests:Outsider\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    drift = catalog.choice("monitor/drift")
    assert "outsider_tests" in catalog.options(drift)
    assert catalog.find(drift, "outsider_tests:threshold=0.5").spec == "outsider_tests:threshold=0.5"
    assert "outsider_tests" not in catalog.options(catalog.choice("cause/experiment"))


def test_what_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    drift = catalog.choice("monitor/drift")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(UsageError, match=r"holds no option of monitor/drift.*`weigh new monitor/drift NAME`"):
        catalog.find(drift, str(tmp_path / "empty.py"))
    with pytest.raises(UsageError, match=r"broken\.py cannot be imported: SyntaxError"):
        catalog.find(drift, str(tmp_path / "broken.py"))
    with pytest.raises(UsageError, match="cannot be loaded"):
        catalog.find(drift, "no_such_module:Option")
