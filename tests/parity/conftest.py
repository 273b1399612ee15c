"""The model that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_llama import tiny


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("parity") / "base")
