"""Compression on the scale: fronts of many candidates, what peers choose instead, and what measuring costs."""
