"""A conversion that was killed goes on where it was, and gives the bytes that it would have given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from weigh import catalog
from weigh.model import training
from weigh.model.source import open_source
from weigh.model.task import Calibration
from weigh.model.toy import drawn, random_llama, save_llama


@pytest.mark.parametrize(
    ("choice", "option"),
    [
        ("compress/distill", "logits:steps=6,batch=4"),
        ("compress/distill", "on_policy:steps=6,batch=4,lmbda=1,warm=0.2"),
        ("compress/heads", "grouped:steps=6,batch=4,taught=true"),
    ],
)
def test_a_killed_conversion_goes_on(choice: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    net = random_llama(0, 2, num_key_value_heads=4)
    source = open_source(save_llama(net, tmp_path / "model"))
    text = Calibration({"input_ids": drawn(net, 0, count=12, length=16)})
    made: Any = catalog.find(catalog.choice(choice), option)
    step, steps = training._step, []

    def counted(*args: Any) -> float:
        steps.append(args[-1])
        if steps == [0, 1, 2, 3]:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(training, "_step", counted)
    folders = [tmp_path / name for name in ("killed", "resumed", "whole")]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        made.convert(source, text, folders[0])
    assert list((tmp_path / "cache" / "training").iterdir()), "what was done is kept"
    resumed = made.convert(source, text, folders[1])
    assert steps == [0, 1, 2, 3, 3, 4, 5]
    assert not list((tmp_path / "cache" / "training").iterdir())
    whole = made.convert(source, text, folders[2])
    for file in whole.iterdir():
        assert (resumed / file.name).read_bytes() == file.read_bytes(), file.name
