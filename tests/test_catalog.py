"""The three doors for options: the folder, a file, an entry point of an installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from weigh import UsageError, catalog, decide
from weigh.choice import Halted
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
    assert "outsider" in catalog.options(drift), "an entry point gives its option its own name"
    assert catalog.find(drift, "outsider:threshold=0.5").spec == "outsider:threshold=0.5"
    assert "outsider" not in catalog.options(catalog.choice("cause/experiment"))


def test_an_installed_option_never_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usurper_tests.py").write_text(MINE.format(name="Usurper"))
    info = tmp_path / "usurper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: usurper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[weigh.options]\nks = usurper_tests:Usurper\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"called 'ks': weigh\.monitor\.drift\.ks:\w+ and usurper_tests:Usurper"):
        catalog.options(catalog.choice("monitor/drift"))


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


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (":", "one side of the colon is empty|lacks a setting"),
        ("welch:", "'welch:' lacks a setting after the colon; type welch:setting=value"),
        ("confidence=0.9", "names no option of cause/experiment; type an option before it"),
        ("bootstrap:draws=100,draws=200", "draws is given twice"),
        ("json:loads", "is no option of cause/experiment"),
        ("welsh", "did you mean 'welch'"),
        ("welch,cuped", "names several: type --option welch --option cuped"),
    ],
)
def test_what_is_typed_wrongly_is_told_apart(typed: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        catalog.find(catalog.choice("cause/experiment"), typed)


@pytest.mark.parametrize("name", ["weigh.choice:Choice", "json:loads", "weigh.choice:UsageError", "json:", ":x"])
def test_what_is_no_choice_is_never_called(name: str) -> None:
    with pytest.raises(UsageError, match=r"is no choice|one side of the colon is empty"):
        catalog.choice(name)


@pytest.mark.parametrize("name", ["monitor/", "monitor/drift.ks", "monitor/_x", "/", "", "monitor/drift/ks"])
def test_a_choice_that_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(UsageError, match="there is no choice"):
        catalog.choice(name)


def test_none_is_typed_where_a_setting_may_be_none() -> None:
    drift = catalog.choice("monitor/drift")
    assert catalog.find(drift, "ks:threshold=none") == catalog.find(drift, "ks")
    with pytest.raises(UsageError, match="bins must be a whole number, not 'none'"):
        catalog.find(drift, "psi:bins=none")


def test_a_value_is_refused_in_words() -> None:
    drift = catalog.choice("monitor/drift")
    with pytest.raises(UsageError) as caught:
        catalog.find(drift, "ks:threshold=high")
    assert str(caught.value) == "option 'ks:threshold=high': threshold must be a number, not 'high'"
    said = {}
    for name, value in {"kinds": ["mean", "scael"], "window": 0, "sizes": "mean", "columns": 3, "size": "nan"}.items():
        with pytest.raises(ValidationError) as refused:
            drift.task.model_validate({"history": "x", name: value})
        said[name] = catalog.plain(refused.value)
    assert "there is no value 'scael' of kinds; did you mean 'scale'? (known: mean, scale," in said["kinds"]
    assert said["window"] == "window must be at least 20, not 0"
    assert said["sizes"] == "sizes must be name:value pairs, typed sizes=a:1,b:2, not 'mean'"
    assert said["columns"] == "columns must be a list, typed columns=a,b, not 3"
    assert said["size"] == "size must be a finite number, not 'nan'"
    with pytest.raises(ValidationError) as refused:
        drift.task.model_validate({"history": "x", "stretch": 5000})
    assert catalog.plain(refused.value).startswith("a stretch of 5000 rows is longer than a window")


def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faulty_tests.py").write_text("raise RuntimeError('out of luck')")
    info = tmp_path / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[weigh.options]\nodd = faulty_tests:Odd\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"odd = faulty_tests:Odd of the package faulty .* RuntimeError: out of luck"):
        catalog.options(catalog.choice("cause/experiment"))


def test_what_a_file_does_to_the_streams_does_not_last(tmp_path: Path) -> None:
    mine = tmp_path / "silencer.py"
    mine.write_text(MINE.format(name="Silencer") + "\nimport sys\nsys.stdout = None\n")
    before = sys.stdout
    catalog.find(catalog.choice("monitor/drift"), str(mine))
    assert sys.stdout is before


def test_a_file_takes_the_place_of_no_module(tmp_path: Path) -> None:
    """A file called like a library is an option of that name, and the library stays what it was."""
    import json as library

    mine = tmp_path / "json.py"
    mine.write_text(MINE.format(name="Mine"))
    assert catalog.find(catalog.choice("monitor/drift"), str(mine)).name == "json"
    assert sys.modules["json"] is library


def test_two_files_of_one_name_are_two_options(tmp_path: Path) -> None:
    drift, places = catalog.choice("monitor/drift"), []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        places.append(tmp_path / folder / "same.py")
        places[-1].write_text(MINE.format(name="Mine") + f"\n# {folder}\n")
    first, second = (catalog.find(drift, f"{place}:threshold={n}") for n, place in enumerate(places, 1))
    assert [catalog.lock_option(drift, one).source for one in (first, second)] == [f"{place}:Mine" for place in places]
    with pytest.raises(UsageError, match="both called 'same'; rename one of the two files"):
        catalog.resolve(drift, [str(place) for place in places])


def test_another_content_is_another_option_wherever_the_file_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its folder is on the path, so that it could be imported by its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    drift, mine = catalog.choice("monitor/drift"), tmp_path / "edited_option.py"
    locked = []
    for text in ("", "\n# changed\n"):
        mine.write_text(MINE.format(name="Mine") + text)
        locked.append(catalog.lock_option(drift, catalog.find(drift, str(mine))))
    assert locked[0].code != locked[1].code and locked[0].source == locked[1].source == f"{mine}:Mine"
    with pytest.raises(Halted, match="was changed while it was measured"):
        catalog.unlock_option(drift, locked[0])
