"""Finds choices and options: the folder is the registry; a file and an entry point are the other two doors."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import itertools
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from pydantic import ValidationError

from weigh.choice import Choice, Halted, Option, UsageError, unknown
from weigh.decision import OptionLock
from weigh.plain import plain as plain

AREAS = ("train", "tune", "compress", "serve", "monitor", "cause", "retrain")
GROUP = "weigh.options"


def choices() -> dict[str, Choice]:
    """Every choice of weigh and of installed packages (entry point group ``weigh.choices``), by name."""
    found: dict[str, Choice] = {}
    for area in AREAS:
        if importlib.util.find_spec(f"weigh.{area}") is None:
            continue
        package = importlib.import_module(f"weigh.{area}")
        for module in pkgutil.iter_modules(package.__path__, f"weigh.{area}."):
            if module.ispkg and not module.name.rpartition(".")[2].startswith("_"):
                made = _choice_in(importlib.import_module(module.name))
                found[made.name] = made
    for _, loaded in _installed("weigh.choices"):
        if _finished(loaded, Choice):
            if loaded.name in found:
                raise UsageError(f"two choices are called '{loaded.name}', one of {loaded.__module__}: uninstall one")
            found[loaded.name] = loaded()
    return found


def _installed(group: str) -> Iterator[tuple[str, Any]]:
    """What installed packages offer under an entry point group, by the entry's name."""
    for entry in entry_points(group=group):
        try:
            yield entry.name, entry.load()
        except (Exception, SystemExit) as error:
            package = f" of the package {entry.dist.name}" if entry.dist else ""
            raise UsageError(
                f"the entry point {entry.name} = {entry.value}{package} cannot be loaded: {type(error).__name__}: "
                f"{error}; mend or uninstall that package"
            ) from error


def choice(name: str) -> Choice:
    """The choice of that name (``area/choice``, or ``module:Class`` for one from outside)."""
    if ":" in name:
        found = _attribute(name)
        if not _finished(found, Choice):
            raise UsageError(f"{name} is no choice: give the module:Class of a class that finalises weigh.Choice")
        return _made(found)
    folder = "weigh." + name.replace("/", ".")
    if re.fullmatch(r"[a-z]+/[a-z][a-z0-9_]*", name) and name.partition("/")[0] in AREAS and _exists(folder):
        return _choice_in(importlib.import_module(folder))
    known = choices()
    if name not in known:
        raise UsageError(unknown("choice", name, sorted(known)) + "; `weigh choices` lists them")
    return known[name]


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _choice_in(module: ModuleType) -> Choice:
    for value in vars(module).values():
        if _finished(value, Choice) and value.__module__ == module.__name__:
            return _made(value)
    raise TypeError(f"{module.__name__} holds no Choice")


def options(of: Choice) -> dict[str, type[Option]]:
    """Every option of a choice by name, the baseline first: those of its folder, then those of entry points."""
    found: dict[str, type[Option]] = {}
    package = sys.modules[type(of).__module__]
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        if not module.name.startswith("_"):
            made = _option_in(importlib.import_module(f"{package.__name__}.{module.name}"), of)
            found[made.name] = made
    for name, loaded in _installed(GROUP):
        if _finished(loaded, of.option):
            if name in found and found[name] is not loaded:
                both = " and ".join(f"{cls.__module__}:{cls.__qualname__}" for cls in (found[name], loaded))
                raise UsageError(
                    f"two options of {of.name} are called '{name}': {both}; rename the entry point, or uninstall one"
                )
            loaded.name = name
            found[name] = loaded
    return dict(sorted(found.items(), key=lambda item: (item[0] != of.baseline.partition(":")[0], item[0])))


def _finished(value: Any, base: type[Any]) -> bool:
    """Whether it is a class that finalises `base`."""
    return inspect.isclass(value) and issubclass(value, base) and not inspect.isabstract(value)


def _made(finished: type[Choice]) -> Choice:
    return finished()


def _option_in(module: ModuleType, of: Choice) -> type[Option]:
    for value in vars(module).values():
        if _finished(value, of.option) and value.__module__ == module.__name__:
            found: type[Option] = value
            return found
    raise UsageError(
        f"{module.__file__} holds no option of {of.name}: define a class that finalises {of.option.__name__} "
        f"(from {of.option.__module__}); `weigh new {of.name} NAME` writes one to start from"
    )


def find(of: Choice, text: str) -> Option:
    """The option that was typed: ``name``, ``name:setting=value,...``, ``./mine.py``, ``module:Class``."""
    head, settings = _split(of, text)
    return _make(of, load(of, head), settings, text)


def load(of: Choice, head: str) -> type[Option]:
    """An option's class by name, by file or by ``module:Class``."""
    if head.endswith(".py"):
        return _option_in(_from_file(Path(head)), of)
    if ":" in head:
        made: type[Option] = _attribute(head)
        if not _finished(made, of.option):
            raise UsageError(f"{head} is no option of {of.name}: it does not finalise {of.option.__name__}")
        return made
    known = options(of)
    if head not in known:
        names = [part.strip() for part in head.split(",")]
        if all(name in known for name in names):
            apart = " ".join(f"--option {name}" for name in names)
            raise UsageError(f"'{head}' names several: type {apart}")
        raise UsageError(unknown("option", head, list(known), f"of {of.name}"))
    return known[head]


def _attribute(path: str) -> Any:
    """What ``module:name`` or ``file.py:name`` means."""
    module, _, attribute = path.partition(":")
    if not (module and attribute):
        raise UsageError(f"'{path}' cannot be loaded: one side of the colon is empty; type it as module:Class")
    try:
        found: Any = _from_file(Path(module)) if module.endswith(".py") else importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"'{path}' cannot be loaded: {error}; type it as module:Class or ./file.py") from None
    return found


def _split(of: Choice, text: str) -> tuple[str, dict[str, str]]:
    """An option's name, file or class, and its settings as they were typed."""
    start, equals, _ = text.partition("=")
    if not equals:
        if text.endswith(":"):
            raise UsageError(f"'{text}' lacks a setting after the colon; type {text[:-1] or 'name'}:setting=value")
        return text, {}
    head = start.rpartition(":")[0]
    if not head:
        known = of.baseline.partition(":")[0]
        raise UsageError(f"'{text}' names no option of {of.name}; type an option before it, such as {known}:{text}")
    settings: dict[str, str] = {}
    tail = text[len(head) + 1 :]
    for item in tail.split(","):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(
                f"in '{text}', '{item}' is no setting; type {head or 'option'}:setting=value,setting=value"
            )
        if key.strip() in settings:
            raise UsageError(f"in '{text}', {key.strip()} is given twice; type it once")
        settings[key.strip()] = value.strip()
    return head, settings


def _make(of: Choice, cls: type[Option], settings: dict[str, str], text: str) -> Option:
    known = list(cls.model_fields)
    for key in settings:
        if key not in known:
            raise UsageError(unknown("setting", key, known, f"of {of.name} option {cls.name}"))
    typed = {
        key: None if value in ("none", "null") and type(None) in get_args(cls.model_fields[key].annotation) else value
        for key, value in settings.items()
    }
    try:
        return cls.model_validate(typed)
    except ValidationError as error:
        raise UsageError(f"option '{text}': {plain(error)}") from None


def _from_file(path: Path) -> ModuleType:
    """The module in a file, under a name of its own, so that it takes the place of no other."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}; `weigh new CHOICE NAME` writes an option to start from")
    content = path.read_bytes()
    name = "weigh_option_" + hashlib.sha256(os.fsencode(path.resolve()) + b"\0" + content).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["__option__"] = path.stem
    sys.modules[name] = module
    streams = sys.stdin, sys.stdout, sys.stderr
    try:
        exec(compile(content, str(path.resolve()), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        line = getattr(error, "lineno", None) or next((f.lineno for f in reversed(frames) if f.name == "<module>"), "?")
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error} (line {line}); mend it") from None
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
    return module


def resolve(of: Choice, wanted: Sequence[str | Option] | None) -> list[Option]:
    """The options to race, the baseline always among them; without a wish, every variant of every option."""
    if wanted:
        made = [find(of, item) if isinstance(item, str) else item for item in wanted]
    else:
        made = [cls.model_validate(dict(variant)) for cls in options(of).values() for variant in cls.variants]
    made = [find(of, of.baseline), *made]
    for first, second in itertools.combinations(made, 2):
        if first.spec == second.spec and type(first) is not type(second):
            raise UsageError(f"two options are both called '{first.spec}'; rename one of the two files")
    return list({option.spec: option for option in made}.values())


def lock_option(of: Choice, option: Option) -> OptionLock:
    """Where an option comes from, so that a worker can load it again, and what its code was."""
    cls = type(option)
    if cls.__module__ == "__main__":
        raise UsageError(
            f"option {cls.__name__} is defined in the script that runs; "
            "move it to a file of its own and pass './file.py'"
        )
    if not _importable(cls):
        raise UsageError(
            f"{cls.__module__}:{cls.__qualname__} cannot be imported by its name; pass its file: './file.py'"
        )
    return OptionLock(
        spec=option.spec, source=f"{_place(cls)}:{cls.__qualname__}", settings=option.model_dump(mode="json"),
        code=_code(cls), missing=tuple(option.needs.missing()),
    )  # fmt: skip


def _place(cls: type) -> str:
    """Where a worker finds the class: the file, where it came from one, or the module."""
    module = sys.modules[cls.__module__]
    return str(module.__file__) if hasattr(module, "__option__") else cls.__module__


def _code(cls: type) -> str:
    """The digest of an outsider's file; weigh's own options are those of its version."""
    if cls.__module__.startswith("weigh."):
        return ""
    return "sha256:" + hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()


def _importable(cls: type) -> bool:
    """Whether a fresh process would find the class where `_place` says."""
    module = sys.modules[cls.__module__]
    if hasattr(module, "__option__"):
        return True
    try:
        spec = importlib.util.find_spec(cls.__module__)
    except ValueError:  # a module that was never imported from anywhere
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).samefile(inspect.getfile(cls))


def unlock_option(of: Choice, locked: OptionLock) -> Option:
    """The option again, from its lock."""
    cls = load(of, locked.source)
    if _code(cls) != locked.code:
        raise Halted(f"{locked.source} was changed while it was measured; type the same command again")
    return cls.model_validate(locked.settings)
