"""The scale: anytime-valid inference and races over blocks. No machine learning, no I/O."""
