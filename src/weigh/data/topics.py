"""Short English texts and what they are about, for a sentence encoder: 1,143 texts on 10 topics.

They are the questions and answers of the English ChatterBot corpus (BSD, written by its users), which keeps one file a
topic; a text's label is its file. The package is `chatterbot-corpus`: 2,026 conversations, 1,888 different texts (but
for case, spaces and the last stop). Left out are texts that two files share (9), those of fewer than three words, the
files of small talk, which have no topic, and topics with fewer than 40 texts.

What is left is real and not clean: trivia are about anything, so no encoder gets all of them right. The nearest mean of
all-MiniLM-L6-v2's vectors, the text itself left out of it, is right for 82.6 %.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from weigh.data._folder import package_file
from weigh.data.cache import cache_folder, replacing

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TOPICS", "installed", "load", "path", "write"]

TOPICS = ("ai", "coding", "computers", "emotion", "literature", "money", "movies", "science", "sports", "trivia")
INSTALL = "pip install --no-deps chatterbot-corpus==1.3.3"
WORDS = 3


def installed() -> bool:
    """Whether the package that brings the texts is there; `load` works then."""
    return find_spec("chatterbot_corpus") is not None


def load() -> pl.DataFrame:
    """1,143 rows with the columns `text` and `label`, in an order drawn once.

    Raises:
        ModuleNotFoundError: the package `chatterbot-corpus` is missing; the text says what to type.
    """
    import polars as pl

    return pl.read_parquet(path())


def path() -> Path:
    """The same as a Parquet file in the user's cache folder; it is made on first use, in a second."""
    files = _files()
    whole = hashlib.sha256(Path(__file__).read_bytes())
    for file in files:
        whole.update(file.read_bytes())
    target = cache_folder() / "topics" / f"{whole.hexdigest()[:32]}.parquet"
    if not target.exists():
        frame = _read(files)
        with replacing(target) as temporary:
            frame.write_parquet(temporary)
    return target


def write(folder: Path) -> Path:
    """Put a copy into a folder (made if need be), as `topics.parquet`."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(path(), folder / "topics.parquet"))


def _read(files: list[Path]) -> pl.DataFrame:
    import polars as pl

    said = [(text, file.stem) for file in files for text in _texts(file)]
    heard: dict[str, tuple[str, set[str]]] = {}
    for text, label in said:
        heard.setdefault(_plain(text), (text, set()))[1].add(label)
    rows = [
        (text, label)
        for plain, (text, labels) in heard.items()
        for label in labels
        if len(labels) == 1 and label in TOPICS and len(plain.split()) >= WORDS
    ]
    Random(0).shuffle(rows)
    return pl.DataFrame(rows, schema={"text": pl.String, "label": pl.String}, orient="row")


def _texts(file: Path) -> list[str]:
    """Every question and answer of a topic's file, in order."""
    import yaml

    conversations = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [str(text).strip() for conversation in conversations["conversations"] for text in conversation]


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".!?")


def _files() -> list[Path]:
    """All English files: a text that small talk also says has no topic."""
    folder = package_file("chatterbot_corpus", "data/english", "labelled texts", INSTALL)
    return sorted(folder.glob("*.yml"))
