"""What is held of every option."""

from __future__ import annotations

import inspect
import json
import math
import re

from pydantic import ValidationError

from weigh import catalog
from weigh.checks._subject import CLOCKS, Check, Nonconformity, Subject, hold, opened
from weigh.choice import Curves, Measure, Table


def is_documented(subject: Subject) -> None:
    """The docstring says in one line what the option is, and names its source."""
    text = inspect.cleandoc(vars(subject.cls).get("__doc__") or "")
    first = text.partition("\n")[0]
    where = f"the docstring of {subject.cls.__name__}"
    hold(
        first.endswith((".", "?")),
        f"{where} must begin with one line that says what it does and ends with a full stop; it begins {first!r}",
    )
    hold(len(first) <= 120, f"the first line of {where} has {len(first)} characters; 120 is the most")
    hold(re.search(r"\bSources?:", text), f"{where} names no source; end it with 'Source: paper, standard or page.'")


def is_final(subject: Subject) -> None:
    """The class finalises the choice's abstract class and has no subclass."""
    cls, base = subject.cls, subject.made.option
    hold(
        issubclass(cls, base), f"{cls.__name__} is no {base.__name__}: derive it from {base.__module__}.{base.__name__}"
    )
    left = sorted(getattr(cls, "__abstractmethods__", ()))
    hold(not left, f"{cls.__name__} is not finished: write {', '.join(left)}")
    heirs = [heir.__name__ for heir in cls.__subclasses__()]
    hold(not heirs, f"{cls.__name__} is subclassed by {', '.join(heirs)}; an option is final: wrap it")


def has_described_settings(subject: Subject) -> None:
    """Each setting has a meaning and a default."""
    for name, info in subject.cls.model_fields.items():
        hold(
            info.description,
            f"the setting {name} of {subject.cls.name} has no meaning: Field(default, description='...')",
        )
        hold(
            not info.is_required(),
            f"the setting {name} of {subject.cls.name} has no default, so '{subject.cls.name}' cannot be typed alone",
        )


def has_honest_needs(subject: Subject) -> None:
    """Needs are well formed, and what weigh's own options need is in the extra that they name."""
    from packaging.requirements import InvalidRequirement, Requirement

    needs = subject.cls.needs
    for text in needs.packages:
        try:
            wanted = Requirement(text)
        except InvalidRequirement as error:
            raise Nonconformity(f"{subject.cls.name} needs {text!r}, which is no requirement: {error}") from None
        if needs.extra and subject.cls.__module__.startswith("weigh."):
            hold(
                wanted.name.lower() in _in_extra(needs.extra),
                f"{subject.cls.name} needs {text}, which weigh[{needs.extra}] does not install",
            )


def _in_extra(extra: str) -> set[str]:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    lines = [Requirement(line) for line in requires("weigh") or ()]
    return {one.name.lower() for one in lines if one.marker is None or one.marker.evaluate({"extra": extra})}


def has_distinct_variants(subject: Subject) -> None:
    """The variants that are raced by default are valid and differ."""
    specs = [option.spec for option in subject.options()]
    hold(specs, f"{subject.cls.name} has no variants, so it is never raced: leave variants as they are, or name some")
    hold(len(set(specs)) == len(specs), f"variants of {subject.cls.name} are the same: {', '.join(specs)}")


def survives_json(subject: Subject) -> None:
    """Settings come back from JSON, and fit their schema."""
    import jsonschema

    for option in subject.options():
        text = option.model_dump_json()
        hold(subject.cls.model_validate_json(text) == option, f"{option.spec} does not come back from its JSON {text}")
        try:
            jsonschema.validate(json.loads(text), subject.cls.model_json_schema())
        except jsonschema.ValidationError as error:
            raise Nonconformity(f"{option.spec} does not fit its own schema: {error.message}") from None


def is_frozen(subject: Subject) -> None:
    """Settings cannot be changed, and unknown ones are refused."""
    for option in subject.options():
        for name in subject.cls.model_fields:
            try:
                setattr(option, name, getattr(option, name))
            except ValidationError:
                continue
            raise Nonconformity(f"the setting {name} of {option.spec} can be changed: leave model_config as it is")
    try:
        subject.cls.model_validate({"no_such_setting": 1})
    except ValidationError:
        return
    raise Nonconformity(f"{subject.cls.name} takes settings that it does not have: leave model_config as it is")


def is_typed_back(subject: Subject) -> None:
    """What is shown can be typed: the spec gives the same option."""
    for option in subject.options():
        locked = catalog.lock_option(subject.made, option)
        known = catalog.options(subject.made).get(option.name) is subject.cls
        settings = option.spec.partition(":")[2]
        text = option.spec if known else f"{locked.source}{':' if settings else ''}{settings}"
        hold(
            catalog.find(subject.made, text).model_dump() == option.model_dump(),
            f"'{text}' is not read back as {option!r}: settings must be numbers, words or booleans, without commas",
        )


def gives_the_measures(subject: Subject) -> None:
    """A trial gives exactly the declared measures, within their bounds."""
    declared = {measure.name: measure for measure in subject.measures}
    for option in subject.options():
        for trial in subject.measured(option):
            given = set(trial.values)
            hold(
                given == set(declared),
                f"{option.spec} gave {sorted(given)}; {subject.made.name} measures {sorted(declared)}",
            )
            for name, values in trial.values.items():
                _check_values(option.spec, declared[name], values)


def _check_values(spec: str, measure: Measure, values: float | list[float]) -> None:
    if measure.kind == "exact":
        hold(
            isinstance(values, float) and math.isfinite(values),
            f"{measure.name} of {spec} is exact: one finite number, not {values!r}",
        )
        return
    hold(
        isinstance(values, list) and values,
        f"{measure.name} of {spec} is a {measure.kind}: a list of unit values, not {values!r}",
    )
    low, high = {"mean": (measure.low, measure.high), "quantile": (-math.inf, math.inf), "time": (5e-324, math.inf)}[
        measure.kind
    ]
    for value in values if isinstance(values, list) else ():
        hold(
            math.isfinite(value) and low <= value <= high,
            f"{measure.name} of {spec} has the value {value!r}; {_bounds(measure)}",
        )


def _bounds(measure: Measure) -> str:
    """What unit values of a measure may be, in words."""
    if measure.kind == "mean":
        return f"values lie between {measure.low:g} and {measure.high:g}"
    return "times are greater than zero" if measure.kind == "time" else "values are finite"


def pairs_with_the_baseline(subject: Subject) -> None:
    """On each block there are as many values as the baseline has, so that they pair."""
    baseline = subject.measured(catalog.find(subject.made, subject.made.baseline))
    for option in subject.options():
        for mine, theirs in zip(subject.measured(option), baseline, strict=True):
            for name, values in mine.values.items():
                counts = [len(one) if isinstance(one, list) else 1 for one in (values, theirs.values[name])]
                hold(
                    counts[0] == counts[1],
                    f"{name}: {option.spec} gave {counts[0]} values on a block, the baseline {counts[1]}",
                )


def repeats_itself(subject: Subject) -> None:
    """The same seed gives the same values (times apart)."""
    compared = [m.name for m in subject.measures if m.kind != "time" and m.unit not in CLOCKS]
    for option in subject.options():
        first = subject.measured(option)
        again = subject.trials(option, opened(subject.ref, subject.task)[0])
        for one, other in zip(first, again, strict=True):
            for name in compared:
                hold(
                    one.values[name] == other.values.get(name),
                    f"{name} of {option.spec} differs the second time: draw every random number from the block's seed",
                )


def fits_exhibits(subject: Subject) -> None:
    """Tables and curves that show the option are well formed."""
    options = [*subject.options(), catalog.find(subject.made, subject.made.baseline)]
    able = {option.spec: catalog.lock_option(subject.made, option) for option in options if not option.needs.missing()}
    for exhibit in subject.engine.exhibits(list(able.values())):
        if isinstance(exhibit, Table):
            wrong = [row for row in exhibit.rows if len(row) != len(exhibit.columns)]
            hold(not wrong, f"the table {exhibit.title!r} has {len(exhibit.columns)} columns, but a row {wrong[:1]}")
        if isinstance(exhibit, Curves):
            for line in exhibit.lines:
                lengths = {len(part) for part in (line.x, line.y, line.low, line.high) if part}
                hold(
                    len(lengths) <= 1,
                    f"the line {line.name!r} of {exhibit.title!r} has x, y and ends of lengths {sorted(lengths)}",
                )


OPTION_CHECKS: tuple[Check, ...] = (
    is_final, is_documented, has_described_settings, has_distinct_variants, has_honest_needs, survives_json, is_frozen,
    is_typed_back, gives_the_measures, pairs_with_the_baseline, repeats_itself, fits_exhibits,
)  # fmt: skip
