"""Halving against its rivals on learning curves whose truth is known: ``make bench-halving``."""
