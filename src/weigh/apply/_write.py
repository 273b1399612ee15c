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
from weigh.model.write import CARD, copy_files, copy_into, marked, need_free, need_place, whole_folder

Written: TypeAlias = tuple[Path, Path, Path | None]
"""The model, its card, and the certificate."""

CERTIFICATE = "parity.json"
CARD_OF_FILE = ".md"


def as_it_is(chosen: Chosen, to: Path, overwrite: bool, in_folder: bool = False) -> Written:
    """The files that were measured, byte by byte; with `in_folder` a file goes as ``model.*`` into a folder `to`."""
    made = chosen.artefact
    if made.path.is_file() and in_folder:
        inner = f"model{made.path.suffix}"
        with whole_folder(to, chosen.task, overwrite) as folder:
            copy_into(made, folder, inner)
            (folder / CARD).write_text(model_card(chosen, folder / inner, to / inner), encoding="utf-8")
        return to / inner, to / CARD, None
    need_place(made.path, to)
    if made.path.is_dir():
        with whole_folder(to, chosen.task, overwrite) as folder:
            copy_into(made, folder)
            (folder / CARD).write_text(model_card(chosen, folder, to), encoding="utf-8")
        return to, to / CARD, None
    card = beside(to, CARD_OF_FILE)
    need_free(card, chosen.task, overwrite or marked(card))
    copy_files(made, chosen.task, to, overwrite)
    with replacing(card) as temporary:
        temporary.write_text(model_card(chosen, to, to), encoding="utf-8")
    return to, card, None


def in_form(chosen: Chosen, form: str, to: Path, overwrite: bool, in_folder: bool = False) -> Written:
    """Another form of what was measured, with the certificate of what that changed.

    Raises:
        UsageError: the form cannot hold it, or it does not answer as what was measured.
    """
    whole = form == "onnx" and chosen.result.format == "huggingface"
    need_named(form, chosen.result.format, to, in_folder)
    if whole or in_folder:
        if whole:
            need_place(chosen.artefact.path, to)
        with whole_folder(to, chosen.task, overwrite) as folder:
            file = _fill(chosen, form, folder, to / f"model.{form}", CARD, CERTIFICATE)
        return to if whole else to / file.name, to / CARD, to / CERTIFICATE
    card, certificate = beside(to, CARD_OF_FILE), beside(to, f".{CERTIFICATE}")
    need_free(to, chosen.task, overwrite)
    need_free(card, chosen.task, overwrite or marked(card))
    with _scratch(to) as folder:
        file = _fill(chosen, form, folder, to, card.name, certificate.name)
        for one in sorted(folder.iterdir(), key=lambda one: one == file):  # the model last: where it is, all is
            target = to if one == file else to.with_name(one.name)
            need_free(target, chosen.task, overwrite=overwrite or one.suffix in (".md", ".json"))
            os.replace(one, target)
    return to, card, certificate


def need_named(form: str, kept: str, to: Path, in_folder: bool) -> None:
    """Raises `UsageError` when a form of a model that is kept in the format `kept` does not go to a place."""
    if in_folder:
        return
    if form == "onnx" and kept == "huggingface":
        if to.suffix == ".onnx":
            raise UsageError(f"the ONNX file goes with its tokenizer into a folder; name one: {to.with_suffix('')}")
    elif to.suffix != f".{form}":
        raise UsageError(f"--as {form} writes a file; name it so: {to.with_suffix('.' + form)}, or name a folder")


def beside(to: Path, suffix: str) -> Path:
    """A file beside a model, called after its whole name, since model.pt2 and model.onnx may lie in one folder."""
    return to.with_name(to.name + suffix)


def _fill(chosen: Chosen, form: str, folder: Path, place: Path, card: str, certificate: str) -> Path:
    """The other form in a folder, with certificate and card; `place` is where its file will lie."""
    file = forms.written(chosen.result, form, folder, chosen.name)
    found = certified(chosen, file, form, place)
    (folder / certificate).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / card).write_text(model_card(chosen, file, place, found), encoding="utf-8")
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
