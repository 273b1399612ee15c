"""Kernels of attention: the same output as float64, and what each holds in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from weigh import catalog, decide
from weigh.choice import Table, Unfit
from weigh.engine.inline import InlineEngine
from weigh.serve._threads import inferring
from weigh.serve.attention import Attend, Attention, AttentionTask, flex
from weigh.serve.attention._bench import AttentionBench
from weigh.serve.attention._planted import Nearby
from weigh.serve.attention._reference import WrongOutput, reference
from weigh.serve.attention.naive import Naive
from weigh.serve.attention.sdpa import Sdpa

SMALL = AttentionTask(heads=4, kv_heads=2, head_dim=16, lengths=(32, 64), rounds=20)


def opened(**changed: object) -> AttentionBench:
    return AttentionBench(SMALL.model_copy(update=changed), 0)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim", "length"), [(4, 4, 16, 7), (9, 3, 64, 130), (2, 1, 32, 257)])
@pytest.mark.parametrize("kernel", [Naive(), Sdpa()])
def test_kernels_equal_attention_in_float64(
    kernel: Attention, heads: int, kv_heads: int, head_dim: int, length: int, causal: bool
) -> None:
    """Source: torch's own maths in float64, and the definition (arXiv 1706.03762, equation 1)."""
    bench = opened(heads=heads, kv_heads=kv_heads, head_dim=head_dim, lengths=(length,), causal=causal, batch=2)
    q, k, v = bench.tensors(length, 5)
    truth = reference(q, k, v, causal)
    peer = torch.nn.functional.scaled_dot_product_attention(
        q.double(), k.double(), v.double(), is_causal=causal, enable_gqa=heads != kv_heads
    )
    assert (truth - peer).abs().max() < 1e-12
    assert (kernel.attend(q, k, v, causal).double() - truth).abs().max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("causal", [True, False])
def test_flex_equals_attention_in_float64(causal: bool) -> None:
    subject = opened(causal=causal).prepare(flex.Flex())
    assert subject.error <= 1e-5


def test_the_flash_kernel_holds_memory_linear_in_length_and_naive_maths_quadratic() -> None:
    """Source: Dao et al., FlashAttention (arXiv 2205.14135), theorem 1: O(N) additional memory."""
    bench = opened(heads=2, kv_heads=2, head_dim=32)
    with inferring(1):
        flash = [bench.memory(Sdpa(), length) for length in (1024, 2048, 4096)]
        naive = [bench.memory(Naive(), length) for length in (512, 1024, 2048)]
    assert flash[2] - flash[1] == 2 * (flash[1] - flash[0])
    assert naive[2] / naive[1] == pytest.approx(4, rel=0.05) and naive[1] / naive[0] == pytest.approx(4, rel=0.05)
    assert naive[2] > 2 * 2048 * 2048 * 4 > 30 * flash[1]


PEAK = """
import sys, torch
torch.set_num_threads(1)
from weigh.serve.attention.naive import Naive
from weigh.serve.attention.sdpa import Sdpa
kernel, length = {"naive": Naive(), "sdpa": Sdpa()}[sys.argv[1]], int(sys.argv[2])
q = torch.randn(1, 4, length, 32)
with torch.inference_mode():
    kernel.attend(q[:, :, :64], q[:, :, :64], q[:, :, :64], True)
    status = lambda name: int(open("/proc/self/status").read().split(name + ":")[1].split()[0])
    before = status("VmRSS")
    kernel.attend(q, q, q, True)
    print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of a process from Linux's /proc")
def test_the_system_sees_the_same_peaks() -> None:
    def kilobytes(kernel: str, length: int) -> int:
        ran = subprocess.run([sys.executable, "-c", PEAK, kernel, str(length)], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return int(ran.stdout)

    naive = [kilobytes("naive", length) for length in (1024, 2048)]
    assert naive[1] / naive[0] == pytest.approx(4, rel=0.2)
    assert kilobytes("sdpa", 2048) < 8_000 < 100_000 < naive[1]


def test_the_kernel_that_runs_is_the_flash_kernel() -> None:
    q, k, v = opened().tensors(64, 0)
    with torch.profiler.profile() as seen:
        Sdpa().attend(q, k, v, True)
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in {event.key for event in seen.key_averages()}


def test_what_the_flash_kernel_cannot_take_is_unfit_and_not_computed_otherwise() -> None:
    q = torch.ones(1, 1, 8, 16, dtype=torch.int32).to(torch.float8_e4m3fn)
    with pytest.raises(Unfit, match="flash kernel"):
        Sdpa().attend(q, q, q, True)


def test_a_wrong_kernel_fails_with_the_difference() -> None:
    with pytest.raises(WrongOutput, match=r"differs from attention in float64 by .* more than the tolerance of 1e-05"):
        opened().prepare(Nearby())


def test_a_race_fails_what_is_wrong_and_names_what_cannot_run(tmp_path: Path) -> None:
    task = SMALL.model_copy(update={"lengths": (64, 512), "rounds": 60})
    options = ["sdpa", "cuda_flash", Nearby()]
    found = decide(
        "serve/attention", task, options=options, ledger=tmp_path / "l.db", records=None, engine=InlineEngine()
    )
    assert found.chosen == "sdpa"
    assert found.standing("nearby").outcome == "failed" and "WrongOutput" in found.standing("nearby").why
    assert found.standing("sdpa").measured["memory"].estimate < found.standing("naive").measured["memory"].estimate / 20
    if catalog.find(Attend(), "cuda_flash").needs.missing():
        assert "unfit: needs an NVIDIA GPU" in found.standing("cuda_flash").why


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    flex._kernel.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    yield
    flex._kernel.cache_clear()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_flex_is_unfit_and_says_what_to_install() -> None:
    with pytest.raises(Unfit, match=r"apt-get install g\+\+"):
        opened().prepare(flex.Flex())


def test_exhibits_show_how_time_and_memory_grow() -> None:
    bench = opened(lengths=(64, 256, 512), runs=1)
    shown = bench.exhibits({name: bench.prepare(catalog.find(Attend(), name)) for name in ("naive", "sdpa")})
    assert [one.title for one in shown] == [
        "Time of a call",
        "Extra memory of a call",
        "How both grow with the sequence",
    ]
    growth = shown[2]
    assert isinstance(growth, Table)
    power = {row[0]: row[2] for row in growth.rows}
    assert power["naive"] == pytest.approx(2, abs=0.1) and 0 <= power["sdpa"] < 1.1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"heads": 9, "kv_heads": 2}, "take a divisor of heads"),
        ({"lengths": ()}, "at least 1 item"),
        ({"lengths": (128, 0)}, "at least one token, not 0"),
        ({"dtype": "float8"}, "bfloat16"),
    ],
)
def test_tasks_that_mean_nothing_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AttentionTask.model_validate(fields)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", ["flash", "cudnn", "efficient"])
def test_cuda_kernels_equal_attention_in_float64(kernel: str) -> None:
    bench = opened(dtype="bfloat16", head_dim=64, lengths=(256,))
    assert bench.prepare(catalog.find(Attend(), f"cuda_flash:kernel={kernel}")).error <= 2e-2
