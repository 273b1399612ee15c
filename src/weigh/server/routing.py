"""Which model is the champion, which one challenges it, and who meets whom: a file that is replaced whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

from weigh.choice import Frozen, UsageError
from weigh.data.cache import replacing


class Served(Frozen):
    """A model that an arm runs."""

    path: str
    architecture: str = ""


class Challenge(Frozen):
    """A challenger on its way: in the shadow, or with a share of the units."""

    id: str = Field(description="of the rollout; units are assigned by it")
    challenger: Served
    mode: Literal["shadow", "split"] = "shadow"
    stage: int = Field(0, ge=0, description="place of the stage in the rollout's plan")
    share: float = Field(0.0, ge=0, le=1, description="of the units that meet the challenger")
    compare: bool = Field(True, description="the other arm answers copies too, so that one sees where they disagree")


class Routing(Frozen):
    """Who serves. A higher revision replaces a lower one."""

    revision: int = Field(0, ge=0)
    champion: Served
    challenge: Challenge | None = None


def read(path: Path) -> Routing | None:
    """What the file says; None where there is none.

    Raises:
        UsageError: it was damaged.
    """
    try:
        return Routing.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UsageError(
            f"{path} cannot be read ({error}): move it away to begin anew with the model you name"
        ) from None


@contextmanager
def changing(path: Path, wait: bool = True) -> Iterator[Callable[[Routing], None]]:
    """Nobody else changes the file while the block runs; it is given what replaces the file whole.

    The revision goes up by itself.

    Raises:
        BlockingIOError: somebody else changes it, and `wait` is False.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lambda routing: _replace(path, routing)


def _replace(path: Path, routing: Routing) -> None:
    found = read(path)
    revision = 0 if found is None else found.revision + 1
    with replacing(path) as temporary:
        temporary.write_text(
            routing.model_copy(update={"revision": revision}).model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
