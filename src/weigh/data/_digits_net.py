"""A small convolutional net for the digits. This file is also written beside its weights, so it needs torch alone."""

from typing import Any


def build() -> Any:
    """Three blocks of convolution, batch normalisation, ReLU and pooling; one linear layer: (n, 1, 28, 28) to (n, 10).

    61,042 parameters with fresh random weights; the ten outputs are logits of the digits 0 to 9.
    """
    from torch import nn

    def block(taken: int, given: int) -> nn.Module:
        convolution = nn.Conv2d(taken, given, kernel_size=3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(given), nn.ReLU(), nn.MaxPool2d(2))

    return nn.Sequential(block(1, 24), block(24, 48), block(48, 96), nn.Flatten(), nn.Linear(96 * 3 * 3, 10))
