"""Platforms that are started for real, in environments of their own: `make test-platforms` sets those up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from weigh.serve.platform import PlatformTask, Running, Served
from weigh.serve.platform._bench import PlatformBench
from weigh.serve.platform._environment import HOME, missing
from weigh.serve.platform._planted import write_toy

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-platforms"
Needs = Callable[..., None]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skipped with what to type, unless `-m platforms` asks for them."""
    asked = "platforms" in (config.option.markexpr or "")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.platforms)
            if not asked:
                item.add_marker(pytest.mark.skip(reason="starts serving platforms: type make test-platforms"))


@pytest.fixture(scope="session", autouse=True)
def _environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME, os.environ.get(HOME, str(ENVIRONMENTS)))
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def need() -> Needs:
    """Skips where none of the environments is there, with what to type."""

    def needed(*names: str) -> None:
        if told := missing(*names):
            pytest.skip(told)

    return needed


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> PlatformTask:
    return write_toy(tmp_path_factory.mktemp("toy")).model_copy(update={"parity_rows": 64, "connections": 8})


@pytest.fixture(scope="session")
def bench(task: PlatformTask) -> Iterator[PlatformBench]:
    made = PlatformBench(task, 0)
    yield made
    made.close()


@pytest.fixture(scope="session")
def served(bench: PlatformBench) -> Served:
    return Served(bench.source, "weighed", 1, 1, 300.0, bench.feed(0))


@pytest.fixture(scope="session")
def ended() -> Iterator[list[Running]]:
    """Servers that end with the tests, whatever happens to them."""
    running: list[Running] = []
    yield running
    for one in running:
        one.close()
