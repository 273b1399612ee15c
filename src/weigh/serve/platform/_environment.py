"""Environments of their own for platforms whose packages do not go with weigh's, each driven as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from weigh.choice import Needs, UsageError, content_digest
from weigh.data.cache import cache_folder

STAMP = ".whole"
HOME = "WEIGH_PLATFORMS"
RAY, TORCH, ONNXRUNTIME = "2.60.0", "2.13.0", "1.32.0"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of.

    Attributes:
        packages: as pip takes them.
        gigabytes: on disk, about.
        python: the version that it takes, such as 3.10; this one's when empty.
        modules: what shows, where it can be imported here, that no environment is needed.
        resolver: what installs: pip, or uv where pip would take many minutes to resolve.
        beside: what is installed here can be imported there too, so that only what is missing here is installed.
    """

    packages: tuple[str, ...]
    gigabytes: float
    python: str = ""
    modules: tuple[str, ...] = ()
    resolver: str = "pip"
    beside: bool = False


RECIPES = {
    # what Ray Serve needs beside Ray: gRPC and others, which clash with nothing here, but which few need
    "ray": Recipe(
        (f"ray[serve]=={RAY}", f"onnxruntime=={ONNXRUNTIME}", "starlette"), 0.2, modules=("ray", "grpc"), beside=True
    ),
    # archived upstream in August 2025: 0.12.0 is the last one
    "torchserve": Recipe(
        (
            "torchserve==0.12.0", "torch-model-archiver==0.12.0", f"torch=={TORCH}", f"onnxruntime=={ONNXRUNTIME}",
            "pyyaml", "setuptools<81",
        ),
        1.3,
    ),
    "tensorflow": Recipe(("tensorflow-cpu==2.16.2", "onnx", "numpy<2"), 1.2, modules=("tensorflow",)),
    # pip resolves TFX for over ten minutes, uv in seconds; setuptools 81 has no pkg_resources
    "tfx": Recipe(("tfx==1.16.0", "setuptools<81", "dill", "onnx<1.17"), 3.0, "3.10", resolver="uv"),
    # no server: KServe's own client, which wants an older pandas
    "kserve": Recipe(("kserve==0.21.0", "setuptools<81"), 0.5),
}  # fmt: skip


def home() -> Path:
    """Where environments lie: `$WEIGH_PLATFORMS`, or `platforms` in weigh's cache folder."""
    return Path(told).expanduser() if (told := os.environ.get(HOME)) else cache_folder() / "platforms"


def _digest(name: str) -> str:
    recipe = RECIPES[name]
    return content_digest([recipe.packages, recipe.python, sys.prefix if recipe.beside else ""])


def installed(name: str) -> Path | None:
    """The Python of an environment that was made whole; None where there is none."""
    folder = home() / name
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text().strip() == _digest(name):
        return folder / "bin" / "python"
    return None


def _here(name: str) -> bool:
    """Whether this Python has what the environment has."""
    modules = RECIPES[name].modules
    return bool(modules) and all(find_spec(one) is not None for one in modules)


def python_of(*names: str) -> Path:
    """A Python that has what the first of the environments has: this one, or that of the first that is there.

    Raises:
        UsageError: there is none; the text says what to type.
    """
    if _here(names[0]):
        return Path(sys.executable)
    for name in names:
        if found := installed(name):
            return found
    raise UsageError(missing(*names))


def missing(*names: str) -> str:
    """Why none of the environments can be used, and what to type; empty where one can."""
    if _here(names[0]) or any(installed(name) for name in names):
        return ""
    recipe = RECIPES[names[0]]
    return (
        f"the environment '{names[0]}' ({recipe.packages[0]}, about {recipe.gigabytes:g} GB) is not in {home()}: "
        f"weigh deploy --prepare {names[0]}"
    )


class Beside(Needs):
    """What an option needs beside this Python: an environment of its own, programs on the path."""

    environments: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    how: str = ""

    def missing(self) -> list[str]:
        reasons = super().missing()
        if self.environments and (told := missing(*self.environments)):
            reasons.append(told)
        reasons += [f"there is no {one} on the path: {self.how}" for one in self.programs if shutil.which(one) is None]
        return reasons


def make(name: str) -> Path:
    """Make an environment, or leave it as it is where it is whole; its Python.

    What pip and uv say goes to standard error.

    Raises:
        UsageError: there is no such recipe, no Python of its version, or the packages cannot be installed.
    """
    if name not in RECIPES:
        raise UsageError(f"there is no environment '{name}' to prepare: type one of {', '.join(RECIPES)}")
    if found := installed(name):
        return found
    folder, recipe = home() / name, RECIPES[name]
    shutil.rmtree(folder, ignore_errors=True)
    _run([str(python(recipe.python)), "-m", "venv", str(folder)], name)
    made = folder / "bin" / "python"
    if recipe.beside:
        _open_to(folder)
    pip = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if recipe.resolver == "uv":
        _run([*pip, "uv"], name)
        _run([str(made), "-m", "uv", "pip", "install", "--quiet", "--python", str(made), *recipe.packages], name)
    else:
        if torch := [one for one in recipe.packages if one.startswith("torch==")]:
            _run([*pip, *torch], name)  # first and alone, so that a build for the CPU beside the index is taken
        _run([*pip, *recipe.packages], name)
    (folder / STAMP).write_text(_digest(name) + "\n")
    return made


def _open_to(folder: Path) -> None:
    """What this Python finds, the environment finds too, after its own."""
    import sysconfig

    paths = sysconfig.get_paths()
    known = [str(Path(__file__).resolve().parents[3]), paths["purelib"], paths["platlib"]]
    own = next(folder.glob("lib/python*/site-packages"))
    (own / "weigh-beside.pth").write_text("".join(f"{one}\n" for one in dict.fromkeys(known)))


def _run(words: list[str], name: str) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = " ".join(done.stderr.split())[-400:]
        raise UsageError(f"the environment '{name}' cannot be made in {home()}: {last}")


def python(version: str) -> Path:
    """A Python of a version (of this one's when empty).

    Raises:
        UsageError: there is none here; the text says where to get one.
    """
    if not version:
        return Path(sys.executable)
    variable = "WEIGH_PYTHON" + version.replace(".", "")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [os.environ.get(variable, ""), shutil.which(f"python{version}") or ""]
    found += sorted((str(path) for path in pyenv.glob(f"{version}*/bin/python{version}")), reverse=True)
    for one in filter(None, found):
        if _is(one, version):
            return Path(one)
    raise UsageError(
        f"TFX 1.16 takes Python {version}, and there is none here: install one (`uv python install {version}`, `pyenv "
        f"install {version}`, or your system's python{version} with python{version}-venv), or say where it is in "
        f"{variable}"
    )


def _is(path: str, version: str) -> bool:
    """Whether it starts and is of that version: a shim of pyenv may not."""
    ask = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True, timeout=30)
    except OSError:
        return False
    return done.stdout.strip() == version
