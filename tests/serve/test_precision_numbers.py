"""A model in other numbers: what is changed, what is kept, what it costs, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runtime_tasks import bert_fields, conv_fields, llama_fields, users_cache

from weigh import catalog, decide
from weigh.choice import Block, UsageError
from weigh.engine.inline import InlineEngine
from weigh.model.net import save
from weigh.model.rows_bench import RowsBench
from weigh.model.text_bench import TextBench
from weigh.serve.precision import Compute, PrecisionTask
from weigh.serve.precision._planted import Coarse
from weigh.serve.precision.bf16 import Bf16
from weigh.serve.precision.fp16 import Fp16
from weigh.serve.precision.fp32 import Fp32
from weigh.serve.precision.tf32 import Tf32

FIELDS = {"language": llama_fields, "encoder": bert_fields, "classifier": conv_fields}
SMALL: dict[str, Any] = {
    "rounds": 10, "runs": 1, "warmup": 0, "calibration_rows": 30, "prompt_tokens": 4, "new_tokens": 2
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEIGH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("tasks")
    made = {}
    for kind, fields in FIELDS.items():
        task = PrecisionTask(**{**fields(folder / kind), **SMALL, **({"window": 32} if kind == "language" else {})})
        made[kind] = Compute().open(task, 0)
    return made


def measured(bench: TextBench | RowsBench, option: Any) -> dict[str, np.ndarray]:
    subject = bench.prepare(option)
    trials = [bench.trial(subject, Block(index=place, seed=place)) for place in range(6)]  # type: ignore[arg-type]
    return {name: np.concatenate([np.atleast_1d(one[name]) for one in trials]) for name in trials[0]}


@pytest.mark.parametrize("kind", FIELDS)
def test_single_precision_is_the_model_itself(benches: dict[str, Any], kind: str) -> None:
    found = measured(benches[kind], Fp32())
    assert (found["agreement"] == 1).all()
    assert kind != "language" or (found["drop"] == 0).all()
    assert set(found) == {one.name for one in Compute().suiting(benches[kind].task)}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("option", [Bf16(), Bf16(how="cast"), Fp16(), Fp16(how="cast")], ids=lambda one: one.spec)
def test_half_the_digits_cost_little_on_every_kind_of_model(
    benches: dict[str, Any], kind: str, option: Bf16 | Fp16
) -> None:
    found = measured(benches[kind], option)
    assert found["agreement"].mean() > 0.85
    if kind == "language":
        assert 0 < np.abs(found["drop"]).max() < 0.4


def test_finer_numbers_lose_less(benches: dict[str, Any]) -> None:
    """binary16 has 11 bits of significand and bfloat16 has 8: errors are about eight times smaller."""
    rough, fine = (np.abs(measured(benches["language"], one)["drop"]).mean() for one in (Bf16(), Fp16()))
    assert 2 < rough / fine < 40


def test_autocast_keeps_weights_and_cast_changes_them() -> None:
    linear, rows = torch.nn.Linear(8, 8).eval().requires_grad_(False), torch.randn(4, 8)
    kept = Bf16().wrap(linear)
    assert kept(rows).dtype == torch.bfloat16 and linear.weight.dtype == torch.float32
    assert torch.equal(
        kept(rows), torch.nn.functional.linear(rows.bfloat16(), linear.weight.bfloat16(), linear.bias.bfloat16())
    )
    assert Fp16(how="cast").wrap(linear).weight.dtype == torch.float16


def test_archives_are_computed_in_every_number(tmp_path: Path) -> None:
    """The module of a .pt2 archive refuses train() and eval()."""
    fields = conv_fields(tmp_path / "net")
    bench = RowsBench(PrecisionTask(**{**fields, **SMALL}), 0)
    archive = save(bench.original.module, bench.model, tmp_path / "net.pt2")
    of_archive = RowsBench(PrecisionTask(model=archive, data=fields["data"], **SMALL), 0)
    for option in (Fp32(), Bf16(), Bf16(how="cast"), Fp16(), Fp16(how="cast")):
        found = measured(of_archive, option)
        assert found["agreement"].mean() > 0.85, option.spec


def test_an_overflow_of_half_precision_is_seen_as_a_loss_and_not_as_a_crash(tmp_path: Path) -> None:
    """Scores beyond 65,504 become infinite: answers that are no numbers are wrong ones."""
    task = PrecisionTask(**{**conv_fields(tmp_path / "net", "(lambda scores: (scores * 3e5) ** 2)"), **SMALL})
    found = measured(RowsBench(task, 0), Fp16(how="cast"))
    assert found["agreement"].mean() < 1 and np.isfinite(found["agreement"]).all()


def test_onnx_files_are_refused_with_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    task = PrecisionTask(model=tmp_path / "net.onnx", data=tmp_path / "rows.npz")
    with pytest.raises(UsageError, match="is an ONNX file, whose numbers are fixed: give the torch model"):
        Compute().open(task, 0)


def test_a_race_rejects_what_is_too_coarse_and_names_what_cannot_run(tmp_path: Path) -> None:
    task = Compute().toy(tmp_path, 0)
    options = ["bf16:how=cast", "tf32", Coarse()]
    found = decide(
        "serve/precision", task, options=options, ledger=tmp_path / "l.db", records=None, engine=InlineEngine()
    )
    assert found.standing("coarse").outcome == "violates"
    if catalog.find(Compute(), "tf32").needs.missing():
        assert "unfit: needs an NVIDIA GPU" in found.standing("tf32").why


@pytest.mark.slow
def test_bfloat16_keeps_the_accuracy_of_the_net_of_digits() -> None:
    from weigh.data import digits

    if not digits.installed():
        pytest.skip(f"needs the pictures: {digits.INSTALL}")
    with users_cache():
        (weights, code), rows = digits.net(), digits.rows()
    bench = RowsBench(PrecisionTask(model=weights, architecture=code, data=rows, batch=32), 0)
    feed, truth = bench.rows.take(np.arange(1000)), bench.truth[:1000]
    sessions = [bench.session(bench.prepare(one)) for one in (Fp32(), Bf16(how="cast"))]
    plain, short = (bench.reader.match(bench.reader.answers(one.answer(feed)), truth).mean() for one in sessions)
    assert plain > 0.97 and abs(plain - short) < 0.01


@pytest.mark.gpu
def test_tensorfloat_32_drops_digits_of_products_and_no_more() -> None:
    """10 bits of significand: errors of a product of 256 terms lie near 1e-3 of its scale, far above float32's."""
    if missing := catalog.find(Compute(), "tf32").needs.missing():
        pytest.skip("; ".join(missing))
    torch.manual_seed(0)
    linear, rows = torch.nn.Linear(256, 256, bias=False).eval().requires_grad_(False), torch.randn(64, 256)
    truth = rows.double() @ linear.weight.double().T
    found = Tf32().wrap(linear)(rows)
    assert found.device.type == "cpu"
    assert 1e-5 < (found.double() - truth).abs().max() / truth.abs().max() < 1e-2
