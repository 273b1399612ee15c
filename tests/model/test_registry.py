"""MLflow's registry, offline: what is registered is found by version, by alias and by run, and never unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from weigh.choice import UsageError
from weigh.model import registry
from weigh.model.registry import located, need_mlflow, registered
from weigh.model.source import open_source
from weigh.model.task import ModelTask
from weigh.model.toy import random_llama, save_llama

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow warns of its own code
mlflow = pytest.importorskip("mlflow", reason="needs mlflow: pip install 'weigh[mlflow]'")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One store for all tests: MLflow takes seconds to make its tables."""
    folder, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture(autouse=True)
def store(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WEIGH_CACHE", str(tmp_path / "cache"))
    mlflow.set_tracking_uri(f"sqlite:///{base}/mlflow.db")
    registry._fetched.cache_clear()
    yield tmp_path
    registry._fetched.cache_clear()


def kept(path: Path, name: str = "toy") -> str:
    return registered(path, name, "challenger", "a run", {"weigh.chosen": "none"}, {"size": 1.5}, [])


def llama(folder: Path, seed: int) -> Path:
    return save_llama(random_llama(seed, layers=1), folder)


def test_a_model_is_found_by_version_alias_and_run_and_an_alias_moves(store: Path):
    first, second = llama(store / "first", 0), llama(store / "second", 1)
    assert kept(first) == "models:/toy/1"
    task = ModelTask(model=Path("models:/toy@challenger"), data=first / "config.json")
    was = task.fingerprint()
    assert open_source(Path("models:/toy@challenger")).kind == "language"
    assert task.fingerprint() == was == task.model_copy(update={"model": Path("models:/toy/1")}).fingerprint()
    assert kept(second) == "models:/toy/2"
    assert task.fingerprint() == was  # of one run an alias is one version, whatever happens to it meanwhile
    registry._fetched.cache_clear()
    assert task.fingerprint() != was
    weights = [(path / "model.safetensors").read_bytes() for path in (first, second)]
    for uri, content in (("models:/toy/1", weights[0]), ("models:/toy/2", weights[1]),
                         ("models:/toy@challenger", weights[1]), ("models:/toy/latest", weights[1])):  # fmt: skip
        assert (located(Path(uri)) / "model.safetensors").read_bytes() == content
    version = mlflow.MlflowClient().get_model_version("toy", "2")
    run = mlflow.get_run(version.tags["weigh.run"])
    assert run.data.metrics == {"size": 1.5} and run.data.tags["weigh.chosen"] == version.tags["weigh.chosen"] == "none"


def test_files_are_kept_as_they_are_and_found_by_their_run(store: Path):
    import torch

    net = torch.export.export(torch.nn.Linear(4, 3).eval(), (torch.zeros(2, 4),))
    torch.export.save(net, store / "net.pt2")
    kept(store / "net.pt2", "net")
    run = mlflow.MlflowClient().get_model_version("net", "1").run_id
    for uri in ("models:/net/1", f"runs:/{run}/model"):
        found = located(Path(uri))
        assert found.name == "net.pt2" and open_source(found).format == "exported"


def test_what_mlflow_pickled_is_refused_in_words(store: Path):
    pytest.importorskip("sklearn", reason="logs a scikit-learn model")
    from sklearn.linear_model import LogisticRegression

    net = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            net, name="model", registered_model_name="pickled", pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )  # fmt: skip
    with pytest.raises(UsageError, match=r"no \.onnx, \.pt2, \.gguf file .*model\.pkl.*a pickle is not opened"):
        located(Path("models:/pickled/1"))


def test_what_is_not_there_is_refused_with_where_it_was_looked_for(store: Path):
    for uri in ("models:/nothing/1", "models:/nothing@champion", "models:/nothing/latest", "runs:/0123/model"):
        with pytest.raises(UsageError, match=r"cannot be fetched from sqlite:.*set MLFLOW_TRACKING_URI"):
            located(Path(uri))
    with pytest.raises(UsageError, match="leave / and : and @ out"):
        need_mlflow("a/b")
    assert not list((store / "cache").rglob("*.safetensors"))


def test_a_registry_that_cannot_be_reached_is_told(store: Path):
    mlflow.set_tracking_uri("nowhere://models")
    with pytest.raises(UsageError, match=r"cannot be registered as toy at nowhere:.*set MLFLOW_TRACKING_URI"):
        kept(store / "net.pt2")


def test_a_store_made_anew_is_not_the_one_that_was_fetched_before(store: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = llama(store / "first", 2), llama(store / "second", 3)
    assert kept(first, "anew") == "models:/anew/1"
    found = (located(Path("models:/anew/1")) / "model.safetensors").read_bytes()
    mlflow.MlflowClient().delete_registered_model("anew")
    registry._fetched.cache_clear()
    assert kept(second, "anew") == "models:/anew/1"
    assert (located(Path("models:/anew/1")) / "model.safetensors").read_bytes() != found
