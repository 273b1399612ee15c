"""The conformance kit: what our own tests run on every choice and option, and what you run on yours.

from weigh.checks import check_option
print(check_option("monitor/drift", "./mine.py"))
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from weigh import catalog
from weigh.checks._choice import CHOICE_CHECKS
from weigh.checks._option import OPTION_CHECKS
from weigh.checks._subject import Conformity, Nonconformity, Subject, conformity
from weigh.choice import Option

__all__ = ["Conformity", "Nonconformity", "check_choice", "check_option"]


def check_option(choice: str, option: str | Path | type[Option]) -> Conformity:
    """Check that an option keeps what the choice and everybody else rely on.

    Held: it is final and documented, with its source; each setting has a meaning and a default; settings survive JSON
    and their own schema, cannot be changed, and are read back from what is typed; needs are well formed; on the toy
    task it gives exactly the declared measures, within their bounds, as many values as the baseline, and the same
    ones for the same seed (times apart).

    Args:
        choice: ``area/choice``, or ``module:Class``.
        option: its name, its file (``./mine.py``), ``module:Class``, or the class.

    Raises:
        Nonconformity: something is not kept.
        UsageError: there is no such choice or option.
    """
    made = catalog.choice(choice)
    cls = option if isinstance(option, type) else catalog.load(made, str(option))
    with tempfile.TemporaryDirectory(prefix="weigh-check-") as folder:
        subject = Subject(choice, made, cls, Path(folder))
        return conformity(f"{made.name} option {cls.name}", OPTION_CHECKS, subject)


def check_choice(choice: str) -> Conformity:
    """Check that a choice measures and judges soundly on its toy task.

    Held: measures, cost, baseline and constraints fit together; tasks and options are documented; the toy task is the
    same for the same seed; a new option made by `weigh new` fails in words; the planted loser is rejected and never
    chosen; twins are told apart no more often than chance allows.

    Raises:
        Nonconformity: something is not kept.
    """
    made = catalog.choice(choice)
    with tempfile.TemporaryDirectory(prefix="weigh-check-") as folder:
        subject = Subject(choice, made, type(catalog.find(made, made.baseline)), Path(folder))
        return conformity(made.name, CHOICE_CHECKS, subject)
