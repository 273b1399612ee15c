"""The image that manifests name: a Dockerfile, the versions that were measured, and the model."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from weigh.choice import UsageError
from weigh.deploy.pod import USER

SERVES = ("onnxruntime", "onnx", "orjson", "starlette", "uvicorn", "uvloop", "httptools", "polars", "prometheus-client")
"""What `weigh serve` imports for an ONNX model, beside weigh's own dependencies."""
TORCH = ("torch", "safetensors", "transformers", "tokenizers")
WEIGH = "weigh"


def closure(roots: Iterable[str]) -> dict[str, str]:
    """What is installed here of packages and of all that they ask for, by canonical name -> version.

    Raises:
        UsageError: one of the roots is not installed, so that its version was not measured.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    left = [(str(name), True) for name in roots]
    while left:
        name, asked = left.pop()
        key = canonicalize_name(name)
        if key in found:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if asked:
                raise UsageError(f"the image needs {name}, which is not installed here: pip install {name}") from None
            continue
        found[key] = package.version
        lines = [Requirement(line) for line in package.requires or ()]
        left += [(one.name, False) for one in lines if one.marker is None or one.marker.evaluate({"extra": ""})]
    return dict(sorted(found.items()))


def requirements(torch: bool, ray: bool) -> str:
    """A file of exact versions: those that are installed here."""
    roots = [WEIGH, *SERVES, *(TORCH if torch else ())]
    lines = [f"{name}=={version}\n" for name, version in closure(roots).items()]
    if ray:
        from weigh.deploy.rayservice import RAY as version

        lines = [line for line in lines if not line.startswith("ray==")] + [f"ray[serve]=={version}\n"]
    return "".join(lines)


def dockerfile(python: str, ray: bool) -> str:
    """Builds the server with its models; what runs is not root, and writes to no folder of the image."""
    last = 'CMD ["weigh", "--help"]' if not ray else 'CMD ["ray", "--help"]'
    return f"""\
# Build it where this file lies:  docker build -t IMAGE .
# weigh is installed from wheels/ where no index has it:  pip wheel --no-deps -w wheels PATH_OF_WEIGH
FROM python:{python}-slim
RUN useradd --uid {USER} --user-group --no-create-home --shell /usr/sbin/nologin weigh
COPY requirements.txt /requirements.txt
COPY wheels/ /wheels/
RUN pip install --no-cache-dir --find-links /wheels -r /requirements.txt && rm -r /wheels
COPY models/ /models/
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp WEIGH_CACHE=/tmp/weigh
USER {USER}:{USER}
EXPOSE 8080
{last}
"""


def write(folder: Path, models: Mapping[str, Path], ray: bool = False) -> None:
    """Write a folder from which an image is built.

    Args:
        models: below /models in the image -> the file or folder that is copied there.
    """
    import sys

    torch = any(path.suffix != ".onnx" for path in models.values())
    (folder / "wheels").mkdir(parents=True, exist_ok=True)
    (folder / "wheels" / ".keep").touch()
    python = ".".join(map(str, sys.version_info[:2]))
    (folder / "Dockerfile").write_text(dockerfile(python, ray), encoding="utf-8")
    (folder / "requirements.txt").write_text(requirements(torch, ray), encoding="utf-8")
    for name, path in models.items():
        target = folder / "models" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
            continue
        shutil.copyfile(path, target)
        for beside in path.parent.glob(f"{path.name}.data"):  # weights that an ONNX file keeps outside
            shutil.copyfile(beside, target.parent / beside.name)
