"""Champion and challenger in MLflow's registry, in a store of its own: who is champion is never in doubt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from weigh.choice import UsageError
from weigh.model import promotion
from weigh.model.promotion import Promoted, promote, restore

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow warns of its own code
mlflow = pytest.importorskip("mlflow", reason="needs mlflow: pip install 'weigh[mlflow]'")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One store for all tests: MLflow takes seconds to make its tables."""
    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WEIGH_CACHE", str(folder / "cache"))
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        yield
    mlflow.set_tracking_uri(before)


@pytest.fixture
def client(store: None) -> Any:
    return mlflow.MlflowClient()


def registered(client: Any, name: str, versions: int, **aliases: str) -> None:
    client.create_registered_model(name)
    for _ in range(versions):
        client.create_model_version(name, "file:///nowhere")
    for alias, version in aliases.items():
        client.set_registered_model_alias(name, alias, version)


def aliases(client: Any, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def test_the_challenger_becomes_champion_and_the_decision_is_on_it(client: Any):
    registered(client, "flights", 3, champion="1", challenger="3")
    made = promote("flights", "3", {"weigh.rollout": "r1", "weigh.verdict": "ship"})
    assert made == Promoted("flights", "3", "1") and made.uri == "models:/flights/3"
    assert aliases(client, "flights") == {"champion": "3", "previous": "1"}
    assert client.get_model_version("flights", "3").tags == {"weigh.rollout": "r1", "weigh.verdict": "ship"}
    assert client.get_model_version("flights", "1").tags == {}
    back = restore("flights", {"weigh.verdict": "roll back"})
    assert back == Promoted("flights", "1", "3")
    assert aliases(client, "flights") == {"champion": "1"}
    assert client.get_model_version("flights", "3").tags["weigh.verdict"] == "roll back"
    with pytest.raises(UsageError, match="has no version with the alias 'previous'"):
        restore("flights", {})


def test_a_first_champion_has_no_one_before_it(client: Any):
    registered(client, "first", 1, challenger="1")
    assert promote("first", "1", {}) == Promoted("first", "1", "")
    assert aliases(client, "first") == {"champion": "1"}


def test_another_challenger_than_the_one_that_was_judged_is_refused(client: Any):
    registered(client, "other", 3, champion="1", challenger="3")
    with pytest.raises(UsageError, match="version 2 of other was judged, and the challenger is version 3 by now"):
        promote("other", "2", {"weigh.verdict": "ship"})
    assert aliases(client, "other") == {"champion": "1", "challenger": "3"}
    assert all(client.get_model_version("other", str(version)).tags == {} for version in (1, 2, 3))
    client.delete_registered_model_alias("other", "challenger")
    with pytest.raises(UsageError, match="other has no challenger: `weigh apply ID --register other`"):
        promote("other", "3", {})


def test_a_challenger_that_changes_in_the_middle_is_refused(client: Any, monkeypatch: pytest.MonkeyPatch):
    """Between the first look and the move, somebody registers another one."""
    registered(client, "midway", 3, champion="1", challenger="2")
    named = promotion._named
    looks = []

    def meddling(client: Any, name: str, alias: str) -> str:
        looks.append(alias)
        if looks.count("challenger") == 2:
            client.set_registered_model_alias(name, "challenger", "3")
        return named(client, name, alias)

    monkeypatch.setattr(promotion, "_named", meddling)
    with pytest.raises(UsageError, match="the challenger is version 3 by now"):
        promote("midway", "2", {"weigh.verdict": "ship"})
    monkeypatch.undo()
    assert aliases(client, "midway") == {"champion": "1", "challenger": "3"}
    assert client.get_model_version("midway", "2").tags == {}


@pytest.mark.parametrize("cut", ["set_registered_model_alias", "delete_registered_model_alias"])
def test_a_promotion_that_was_cut_short_is_finished_by_asking_again(
    client: Any, monkeypatch: pytest.MonkeyPatch, cut: str
):
    name = f"cut-{cut[:3]}"
    registered(client, name, 2, champion="1", challenger="2")
    whole = getattr(mlflow.MlflowClient, cut)

    def dies(self: Any, name: str, alias: str, *version: str) -> None:
        if alias in ("champion", "challenger"):
            raise KeyboardInterrupt
        whole(self, name, alias, *version)

    monkeypatch.setattr(mlflow.MlflowClient, cut, dies)
    with pytest.raises(KeyboardInterrupt):
        promote(name, "2", {})
    monkeypatch.undo()
    assert aliases(client, name)["champion"] in ("1", "2")
    assert promote(name, "2", {"weigh.verdict": "ship"}) == Promoted(name, "2", "1")
    assert client.get_model_version(name, "2").tags == {"weigh.verdict": "ship"}
    assert aliases(client, name) == {"champion": "2", "previous": "1"}


def test_whoever_asks_meanwhile_gets_one_of_the_two_versions(client: Any):
    registered(client, "watched", 2, champion="1", challenger="2")
    seen, done = [], threading.Event()

    def watch() -> None:
        own = mlflow.MlflowClient()
        while not done.is_set():
            seen.append(str(own.get_model_version_by_alias("watched", "champion").version))

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        promote("watched", "2", {})
        seen.append(str(client.get_model_version_by_alias("watched", "champion").version))
    finally:
        done.set()
        reader.join()
    assert set(seen) <= {"1", "2"} and seen == sorted(seen) and seen[-1] == "2"


def test_a_model_that_is_not_registered_is_told(client: Any):
    with pytest.raises(UsageError, match=r"nobody cannot be promoted at sqlite:.*set MLFLOW_TRACKING_URI"):
        promote("nobody", "1", {})
