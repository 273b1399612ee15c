"""Watching a model in production: drift, performance, alarms."""
