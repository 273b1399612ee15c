"""Environments of the peers whose packages are not weigh's: made once, under the user's cache folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from weigh.choice import UsageError
from weigh.data.cache import cache_folder

HERE = Path(__file__).parent / "peers"


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment; made, which takes a minute, where it is not there.

    Raises:
        UsageError: its packages cannot be installed.
    """
    wanted = HERE / f"requirements-{peer}.txt"
    folder = cache_folder() / "peers" / f"{peer}-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists():
        return python
    print(f"setting up {peer} in {folder} (a minute) ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    words = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UsageError(f"{peer} could not be installed for Python {sys.version.split()[0]}: {why}")
    stamp.touch()
    return python
