"""The examples of docs/data.md print what the page says."""

import doctest
from pathlib import Path

import pytest

from weigh.data import flights

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.mark.skipif(not flights.installed(), reason="the page shows the flights: pip install 'weigh[flights]'")
def test_the_page_runs(monkeypatch, tmp_path):
    pytest.importorskip("sklearn", reason="the page encodes flights")
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path))
    assert doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS).failed == 0
