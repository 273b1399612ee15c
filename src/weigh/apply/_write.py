"""The model at its place of the user's, with its card, and a certificate where its form was changed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from weigh.apply._card import model_card
from weigh.apply._certificate import certified
from weigh.apply._chosen import Chosen
from weigh.choice import UsageError
from weigh.data.cache import replacing
from weigh.model import forms
from weigh.model.write import CARD, copy_files, copy_into, need_free, need_place, whole_folder

Written: TypeAlias = tuple[Path, Path, Path | None]
"""The model, its card, and the certificate."""

CERTIFICATE = "parity.json"


def as_it_is(chosen: Chosen, to: Path, overwrite: bool) -> Written:
    """The files that were measured, byte by byte."""
    need_place(chosen.artefact.path, to)
    if chosen.artefact.path.is_dir():
        with whole_folder(to, chosen.task, overwrite) as folder:
            copy_into(chosen.artefact, folder)
            (folder / CARD).write_text(model_card(chosen, folder, to), encoding="utf-8")
        return to, to / CARD, None
    card = to.with_suffix(".md")
    need_free(card, chosen.task, overwrite=True)
    copy_files(chosen.artefact, chosen.task, to, overwrite)
    with replacing(card) as temporary:
        temporary.write_text(model_card(chosen, to, to), encoding="utf-8")
    return to, card, None


def in_form(chosen: Chosen, form: str, to: Path, overwrite: bool) -> Written:
    """Another form of what was measured, with the certificate of what that changed.

    Raises:
        UsageError: the form cannot hold it, or it does not answer as what was measured.
    """
    if form == "onnx" and chosen.result.format == "huggingface":
        if to.suffix == ".onnx":
            raise UsageError(f"the ONNX file goes with its tokenizer into a folder; name one: {to.with_suffix('')}")
        need_place(chosen.artefact.path, to)
        with whole_folder(to, chosen.task, overwrite) as folder:
            _fill(chosen, form, folder, to, CARD, CERTIFICATE)
        return to, to / CARD, to / CERTIFICATE
    if to.is_dir() or to.suffix != f".{form}":
        raise UsageError(f"--as {form} writes a file; name it so: {to.with_suffix('.' + form)}")
    card, certificate = to.with_suffix(".md"), to.with_suffix(f".{CERTIFICATE}")
    need_free(to, chosen.task, overwrite)
    with _scratch(to) as folder:
        file = _fill(chosen, form, folder, to, card.name, certificate.name)
        for one in sorted(folder.iterdir(), key=lambda one: one == file):  # the model last: where it is, all is
            target = to if one == file else to.with_name(one.name)
            need_free(target, chosen.task, overwrite=overwrite or one.suffix in (".md", ".json"))
            os.replace(one, target)
    return to, card, certificate


def _fill(chosen: Chosen, form: str, folder: Path, to: Path, card: str, certificate: str) -> Path:
    file = forms.written(chosen.result, form, folder, chosen.name)
    found = certified(chosen, file, form, to)
    (folder / certificate).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / card).write_text(model_card(chosen, file, to, found), encoding="utf-8")
    return file


@contextmanager
def _scratch(to: Path) -> Iterator[Path]:
    """An empty folder beside a file that is being made, removed afterwards."""
    folder = to.parent / f".{to.name}.{uuid.uuid4().hex}.tmp"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
