"""The widths of the net that the tests of compress/quantize share."""

SIZES = (24, 96, 64, 5)
