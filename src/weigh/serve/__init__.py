"""Choices of serving: how a model that is trained is run."""
