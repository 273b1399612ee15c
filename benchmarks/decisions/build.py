"""Builds question families from data and models: ``python -m benchmarks.decisions.build [--only NAME] [--again]``."""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")  # what is timed is not how threads are woken

from benchmarks._ask import told
from benchmarks._result import table
from benchmarks.decisions import store


def main() -> None:
    """Build what is missing, and list what there is."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--only", action="append", help="this family; again for more")
    arguments.add_argument("--again", action="store_true", help="build also what is there")
    asked = arguments.parse_args()
    with told():
        made = [store.load(name, asked.again) for name in asked.only or store.makers()]
    rows = [(f.name, f.kind, f.units, len(f.options), len(f.settings), f.objective, f.source) for f in made]
    table(("family", "kind", "units", "options", "settings", "objective", "what was measured"), rows)


if __name__ == "__main__":
    main()
