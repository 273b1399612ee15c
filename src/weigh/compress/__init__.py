"""Making a model smaller or faster."""
