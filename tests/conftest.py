"""What holds for every test: no screen, and examples that repeat and have no time limit to miss on a busy computer."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "svg")
settings.register_profile("weigh", derandomize=True, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "weigh"))
