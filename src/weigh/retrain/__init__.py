"""Keeping a model fresh."""
