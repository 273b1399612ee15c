"""Rollouts that decide, held against truth and against what others do; `python -m benchmarks.rollout`."""
