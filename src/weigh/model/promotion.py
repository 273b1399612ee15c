"""Champion and challenger in MLflow's registry: the alias moves at once, and the decision is recorded with it.

MLflow sets an alias in one transaction, so that whoever asks for ``models:/NAME@champion`` gets the old version or the
new one, never none. It has no compare-and-set: that the challenger is still the one that was judged is looked at last
of all, under a lock that promotions on this machine share, and the champion is read back afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weigh.choice import UsageError
from weigh.data.cache import cache_folder
from weigh.model.registry import need_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promotion changed.

    Attributes:
        name: of the registered model.
        version: that is the champion now.
        previous: the version that was; empty where there was none.
    """

    name: str
    version: str
    previous: str

    @property
    def uri(self) -> str:
        """The new champion, by its version."""
        return f"models:/{self.name}/{self.version}"


def promote(name: str, judged: str, decision: Mapping[str, str]) -> Promoted:
    """Make the challenger the champion.

    The version that was champion gets the alias ``previous``; the new champion bears the decision as tags; the alias
    ``challenger`` goes. A promotion that was cut short is finished by asking for it again.

    Args:
        name: of the registered model.
        judged: the version that the decision is about: what ``challenger`` named when it was judged.
        decision: tags, such as ``weigh.rollout`` and ``weigh.verdict``.

    Raises:
        UsageError: there is no challenger, it is another version by now, or MLflow refuses.
    """
    need_mlflow(name)
    with _refusals(name) as client, _alone(name):
        old, now = _named(client, name, CHAMPION), _named(client, name, CHALLENGER)
        if old == judged and now in ("", judged):  # it was cut short before the challenger's alias went
            return _finished(client, name, judged, _named(client, name, PREVIOUS), decision)
        _need_judged(name, judged, now)
        with _remembered(client, name, old):
            _need_judged(name, judged, _named(client, name, CHALLENGER))
            client.set_registered_model_alias(name, CHAMPION, judged)
        if (found := _named(client, name, CHAMPION)) != judged:
            raise UsageError(
                f"{name} got version {found} as champion while version {judged} was promoted, from elsewhere: see who "
                "promotes it, then ask again"
            )
        return _finished(client, name, judged, old, decision)


def restore(name: str, decision: Mapping[str, str]) -> Promoted:
    """Make the version that was champion before the champion again.

    Args:
        decision: tags of the version that is taken back, which say why.

    Raises:
        UsageError: there is none, or MLflow refuses.
    """
    need_mlflow(name)
    with _refusals(name) as client, _alone(name):
        bad, good = _named(client, name, CHAMPION), _named(client, name, PREVIOUS)
        if not good:
            raise UsageError(f"{name} has no version with the alias '{PREVIOUS}', so that nothing can be restored")
        for key, value in decision.items():
            client.set_model_version_tag(name, bad or good, key, value)
        client.set_registered_model_alias(name, CHAMPION, good)
        client.delete_registered_model_alias(name, PREVIOUS)
        return Promoted(name, good, bad)


@contextmanager
def _remembered(client: MlflowClient, name: str, old: str) -> Iterator[None]:
    """The champion is called ``previous`` before another takes its place, and no more where none does."""
    before = _named(client, name, PREVIOUS)
    if old:
        client.set_registered_model_alias(name, PREVIOUS, old)
    try:
        yield
    except UsageError:
        if before:
            client.set_registered_model_alias(name, PREVIOUS, before)
        elif old:
            client.delete_registered_model_alias(name, PREVIOUS)
        raise


def _finished(client: MlflowClient, name: str, version: str, previous: str, decision: Mapping[str, str]) -> Promoted:
    for key, value in decision.items():
        client.set_model_version_tag(name, version, key, value)
    if _named(client, name, CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)
    return Promoted(name, version, previous)


def _need_judged(name: str, judged: str, now: str) -> None:
    """Raises `UsageError` where the challenger is not the version that was judged."""
    if now == judged:
        return
    if not now:
        raise UsageError(f"{name} has no challenger: `weigh apply ID --register {name}` registers one")
    raise UsageError(
        f"version {judged} of {name} was judged, and the challenger is version {now} by now: that one was not judged, "
        "and is not promoted; judge it, or give the alias back"
    )


def _named(client: MlflowClient, name: str, alias: str) -> str:
    """The version that an alias names; empty where there is none."""
    found = client.get_registered_model(name).aliases.get(alias, "")
    return str(found)


@contextmanager
def _refusals(name: str) -> Iterator[MlflowClient]:
    """A client whose refusals come in words."""
    import mlflow

    try:
        yield mlflow.MlflowClient()
    except mlflow.exceptions.MlflowException as error:
        raise UsageError(
            f"{name} cannot be promoted at {mlflow.get_tracking_uri()}: {str(error).splitlines()[0]:.200}; set "
            "MLFLOW_TRACKING_URI to where it is registered"
        ) from None


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """No other promotion of this model on this machine while the block runs."""
    import fcntl

    import mlflow

    key = hashlib.sha256(f"{mlflow.get_tracking_uri()} {name}".encode()).hexdigest()[:32]
    path = cache_folder() / "promotions" / f"{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
