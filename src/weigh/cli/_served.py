"""What `weigh serve` is asked to serve: a model by its path, or the one that a decision chose."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.server.settings import follows

if TYPE_CHECKING:
    from weigh.decision import Decision, Lock
    from weigh.server.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model.

    Attributes:
        model: its path, where it lies there already.
        decision: the id of the decision that chose it; empty where a path was typed.
        choice: of the decision.
        ledger: that keeps the decision.
    """

    model: str = ""
    architecture: str = ""
    batching: str = ""
    decision: str = ""
    choice: str = ""
    ledger: str = ""

    def path(self, folder: Path) -> str:
        """Where the model lies; what a decision chose is written into the server's folder, once."""
        if self.model:
            return self.model
        from weigh.apply import apply
        from weigh.cli._flags import existing, taken

        home = folder / "models" / self.decision
        if not home.is_dir():
            with existing(self.ledger) as book:
                lock, made = taken(book, self.decision)
                record, exhibits = book.record(made.lock), book.exhibits(made.lock)
            apply(lock, made, home, record=record, exhibits=exhibits)
        return str(_in(home))


def _in(home: Path) -> Path:
    """The model in a folder that `weigh apply` wrote."""
    found = [one for one in home.iterdir() if one.suffix in (".onnx", ".pt2", ".safetensors", ".gguf")]
    return home if (home / "config.json").is_file() else found[0]


def asked(model: str, ledger: str) -> Wanted:
    """What a person typed.

    Raises:
        UsageError: neither a model nor a decision is called so, or the decision chose nothing that can be served.
    """
    from weigh.cli._flags import existing, short, taken

    if os.path.exists(model) or ":/" in model:
        return Wanted(model)
    if os.sep in model or "." in model or ("://" not in ledger and not os.path.exists(ledger)):
        raise UsageError(
            f"there is no model {model}, and no decision in {ledger}: name a file, a folder or an MLflow URI"
        )
    with existing(ledger) as book:
        lock, made = taken(book, model)
    if made.chosen is None:
        raise UsageError(f"decision {short(made.lock)} chose nothing ({made.answer}); name a model")
    task: dict[str, Any] = dict(lock.task)
    there = Wanted(
        str(task.get("model", "")), str(task.get("architecture", "")), "", short(made.lock), lock.choice, ledger
    )
    if lock.choice.startswith("compress/"):
        return Wanted("", there.architecture, "", there.decision, there.choice, ledger)
    return _of_serving(lock, made, there)


def _of_serving(lock: Lock, made: Decision, there: Wanted) -> Wanted:
    """A decision on how a model is served: the model is the task's own."""
    chosen = str(made.chosen)
    if lock.choice == "serve/batching":
        return Wanted(there.model, there.architecture, chosen, there.decision, there.choice, there.ledger)
    if follows(lock.choice, chosen):
        return there
    raise UsageError(
        f"decision {there.decision} chose {chosen} of {lock.choice}, which `weigh serve` does not set up: "
        f"type `weigh serve {there.model or 'MODEL'}` to serve the model as it is"
    )


def name_of(path: str) -> str:
    """A name out of a path, a URI or a choice.

    >>> name_of("models:/flights@champion"), name_of("out/better.onnx"), name_of("smaller/"), name_of("serve/runtime")
    ('flights', 'better', 'smaller', 'runtime')
    """
    last = path.removeprefix("models:/").partition("@")[0].rstrip("/").split("/")
    text = last[0] if path.startswith("models:/") else Path(last[-1]).stem
    return "".join(one if one.isalnum() or one in "._-" else "-" for one in text).strip("._-") or "model"


def need_same(settings: ServerSettings, anew: bool) -> None:
    """The champion that the folder has is the model that was typed, or gives way to it.

    Raises:
        UsageError: it is another one, and nobody said which is meant.
    """
    from weigh.server import routing as files
    from weigh.server.router import wanted_of

    now = files.read(settings.routing)
    if now is None:
        return
    wanted = wanted_of(settings)
    if anew:
        with files.changing(settings.routing) as change:
            change(now.model_copy(update={"champion": wanted, "challenge": None}))
    elif now.champion.path != wanted.path and not _shipped(settings, wanted.path):
        raise UsageError(
            f"the champion in {settings.state} is {now.champion.path}: type that to go on with it, or --anew to begin "
            f"with {wanted.path}"
        )


def _shipped(settings: ServerSettings, path: str) -> bool:
    """Whether rollouts led from a model to the present champion: then typing the same again goes on."""
    from weigh.server import rollouts

    found = [rollouts.read(settings, one) for one in rollouts.known(settings)]
    return any(one.end == "shipped" and one.champion.path == path for one in found)


def need_batching(spec: str) -> None:
    """Raises `UsageError` where there is no such option of serve/batching."""
    from weigh import catalog

    catalog.find(catalog.choice("serve/batching"), spec)


def size_of(text: str) -> int:
    """Bytes.

    Raises:
        UsageError: it is no size.

    >>> size_of("500MB"), size_of("10GB")
    (500000000, 10000000000)
    """
    number, unit = text.rstrip("KMGB "), text.strip().upper().lstrip("0123456789. ")
    try:
        return int(float(number) * {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}[unit])
    except (ValueError, KeyError):
        raise UsageError(f"'{text}' is no size: type 500MB or 10GB") from None
