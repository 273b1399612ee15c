"""Faults injected into pipelines over SmolLM2, and what `weigh parity` says of them."""
