"""Every choice and every option conforms, whatever they are; and the kit finds each planted fault."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from weigh import catalog
from weigh.checks import Nonconformity, check_choice, check_option
from weigh.choice import UsageError

sys.path.insert(0, str(Path(__file__).parent / "cli"))

CHOICES = catalog.choices()
OPTIONS = [(name, option) for name, made in CHOICES.items() for option in catalog.options(made)]


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_conforms(choice: str):
    check_choice(choice)


@pytest.mark.parametrize(("choice", "option"), OPTIONS, ids=[f"{choice}-{option}" for choice, option in OPTIONS])
def test_every_option_conforms(choice: str, option: str):
    found = check_option(choice, option)
    needs = catalog.find(CHOICES[choice], option).needs
    assert found.skipped == {} or needs.missing(), "all that it needs is here, so that nothing may be left unchecked"


GOOD = '''
"""An option of an outsider."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from guess import Guesser
from weigh.choice import Needs, Unfit


class Mine(Guesser):
    """Says yes to multiples of a number.

    Source: folklore.
    """

    needs = Needs(packages=("pydantic>=2",))
    variants = ({}, {"divisor": 4})

    divisor: int = Field(3, ge=1, description="what the numbers are divided by")

    def guess(self, numbers: Sequence[int]) -> list[bool]:
        return [number % self.divisor == 0 for number in numbers]
'''
BODY = "return [number % self.divisor == 0 for number in numbers]"
FAULTS = {
    "no source": ("Source: folklore.", "", "names no source"),
    "no first line": ("a number.", "a number", "must begin with one line"),
    "no meaning": (', description="what the numbers are divided by"', "", "has no meaning"),
    "no default": ("Field(3, ge=1", "Field(ge=1", "has no default"),
    "bad needs": ("pydantic>=2", "pydantic two", "is no requirement"),
    "same variants": ('{"divisor": 4}', '{"divisor": 3}', "are the same"),
    "no variants": ('({}, {"divisor": 4})', "()", "has no variants"),
    "chance": (
        BODY,
        "import random\n        return [random.random() < 0.5 for _ in numbers]",
        "differs the second time",
    ),
    "breaks down": (BODY, "raise ValueError('no idea')", "ValueError: no idea"),
    "wordless": (BODY, "raise Unfit('')", "does not say why"),
    "not frozen": ("    needs =", "    model_config = {'frozen': False}\n    needs =", "can be changed"),
    "takes all": ("    needs =", "    model_config = {'extra': 'allow'}\n    needs =", "that it does not have"),
    "not typed": (
        "    divisor: int",
        '    marks: tuple[int, ...] = Field((1, 2), description="marks")\n    divisor: int',
        "",
    ),
}


def written(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in GOOD
    path = folder / "mine_checked.py"
    path.write_text(GOOD.replace(old, new, 1) if old else GOOD)
    return path


def test_an_outsiders_option_conforms(tmp_path: Path):
    found = check_option("guess:Guess", written(tmp_path))
    assert len(found.held) == 12 and not found.skipped
    assert "guess/threes option mine_checked conforms" in str(found)


def test_an_option_that_cannot_run_here_is_checked_as_far_as_it_goes():
    found = check_option("guess:Guess", "needy")
    assert len(found.held) == 9
    assert all("no-such-package" in reason for reason in found.skipped.values())


@pytest.mark.parametrize("fault", [name for name in FAULTS if FAULTS[name][2]])
def test_each_fault_of_an_option_is_found(fault: str, tmp_path: Path):
    old, new, says = FAULTS[fault]
    with pytest.raises(Nonconformity, match=says):
        check_option("guess:Guess", written(tmp_path, old, new))


def test_a_setting_that_cannot_be_typed_is_found(tmp_path: Path):
    old, new, _ = FAULTS["not typed"]
    path = written(tmp_path, old, new)
    path.write_text(path.read_text().replace('{"divisor": 4}', '{"marks": (3, 4)}'))
    with pytest.raises((Nonconformity, UsageError), match=r"marks|setting"):
        check_option("guess:Guess", path)


def test_values_out_of_bounds_are_found():
    with pytest.raises(Nonconformity, match=r"outside \[0, 1\]"):
        check_option("guess._faulty:OutOfBounds", "zero")


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("KindLoser", "chose its planted loser"),
        ("UnequalTwins", "tells its twins"),
        ("SameTwins", "typed alike"),
        ("ParrotTwins", "proves nothing"),
        ("UnsteadyToy", "differs between two calls"),
        ("NoCost", "'price'"),
        ("NoFresh", "no fresh blocks"),
    ],
)
def test_each_fault_of_a_choice_is_found(choice: str, says: str):
    with pytest.raises(Nonconformity, match=says):
        check_choice(f"guess._faulty:{choice}")


def test_the_choice_without_faults_conforms():
    assert len(check_choice("guess:Guess").held) == 8
