"""Every speed, cost and validity claim as a command: ``make bench-NAME``."""
