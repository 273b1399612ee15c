"""A draft made of some layers of its target, and taught to guess what the target says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import content_digest
from weigh.data.cache import cache_folder
from weigh.serve.decoding import Served

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

VERSION, RATE, BATCH = 1, 1e-3, 4


def default_draft(served: Served, layers: int, steps: int) -> Path:
    """The folder of the draft of a model; made on first use, and kept by the content of model and text.

    Args:
        layers: an eighth of the model's when 0.
        steps: of distillation.
    """
    windows = served.study()
    layers = layers or max(1, served.module.config.num_hidden_layers // 8)
    parts = [VERSION, served.source.digest, layers, steps, str(served.module.dtype), windows.tolist()]
    folder = cache_folder() / "drafts" / content_digest(parts)[7:39]
    if not (folder / "draft.json").is_file():
        make_draft(served.source, windows, folder, steps, layers)
    return folder


def make_draft(source: Source, windows: NDArray[np.int64], folder: Path, steps: int = 40, layers: int = 4) -> Path:
    """Write a draft: evenly spread layers of the target, taught by the target's next-token scores on text.

    Args:
        source: the target, a Hugging Face folder.
        windows: tokens of real text, shape (n, length).
        folder: where to write a Hugging Face folder; `draft.json` in it says what was done.
        steps: updates; 0 leaves the layers as they are.
        layers: of the draft.

    Returns: `folder`.

    Raises:
        Unfit: the target has fewer layers, or is no transformer of one stack of layers.
    """
    import torch

    from weigh.model.module import load_module, save_module
    from weigh.model.students import evenly, shallower

    with torch.inference_mode(False), torch.enable_grad():
        teacher = load_module(source, "float32")
        kept = evenly(teacher.config.num_hidden_layers, layers)
        student = shallower(teacher, kept)
        losses = _taught(teacher, student, windows, steps) if steps else []
    folder.mkdir(parents=True, exist_ok=True)
    save_module(student, source, folder)
    told = {"layers": list(kept), "steps": steps, "losses": [round(loss, 4) for loss in losses]}
    (folder / "draft.json").write_text(json.dumps(told))
    return folder


def _taught(teacher: Any, student: Any, windows: NDArray[np.int64], steps: int) -> list[float]:
    """The loss of each step."""
    from weigh.model.distilling import Aim, distil
    from weigh.model.training import Plan

    plan = Plan(steps=steps, batch=min(BATCH, len(windows)), rate=RATE)
    return distil(teacher, student, windows, plan, Aim(soft=1.0, temperature=1.0)).losses
