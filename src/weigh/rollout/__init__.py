"""Rollouts that decide: what is promised of a release (`plan`), and what live traffic says of it (`judge`)."""
