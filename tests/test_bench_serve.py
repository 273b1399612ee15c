"""The accounting of bench-serve: what is counted of a server, how rounds are paired, who is first."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.serve import figures, setup
from benchmarks.serve.__main__ import arguments
from benchmarks.serve.net import Net, made
from benchmarks.serve.running import Running
from benchmarks.serve.runtime import Runtime
from benchmarks.serve.tree import Tree, spent
from benchmarks.serve.windows import Window, measured, played
from weigh.choice import UsageError
from weigh.scale.ratio import median_ratio
from weigh.serve.platform._load import Generator
from weigh.serve.platform._ports import free_ports

ECHO = """
import asyncio, json, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
status, off = sys.argv[3], float(sys.argv[4])

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        size = int(head.lower().split(b"content-length: ")[1].split(b"\\r")[0])
        one = json.loads(await reader.readexactly(size))["inputs"][0]
        scores = session.run(None, {"x": np.array(one["data"], "f4").reshape(one["shape"])})[0] + off
        body = json.dumps({"outputs": [{"data": scores.ravel().tolist()}]}).encode()
        writer.write(b"HTTP/1.1 %s X\\r\\ncontent-length: %d\\r\\n\\r\\n" % (status.encode(), len(body)) + body)

async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]))).serve_forever()

asyncio.run(main())
"""


def window(server: str, place: int, times: list[float], seconds: float = 1.0, failed: int = 0, cpu: float = 0.0):
    return Window(server, "16", place, seconds, np.array(times), failed, cpu)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Net:
    return made(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def load():
    generator = Generator()
    yield generator
    generator.close()


def served(net: Net, folder, status: str = "200", off: float = 0.0, name: str = "echo") -> Running:
    home, port = folder / name, free_ports(1)[0]
    home.mkdir()
    words = [sys.executable, "-c", ECHO, str(net.path), str(port), status, str(off)]
    return Running(name, net, home, setup.Command(words), port)


def test_figures_of_a_server_are_medians_over_windows_and_sums_of_time_and_requests():
    some = [window("a", 0, [1.0] * 10, 1.0, 0, 0.5), window("a", 1, [3.0] * 40, 2.0, 10, 1.0)]
    some.append(window("a", 2, [2.0] * 99 + [50.0], 1.0, 0, 1.7))
    found = figures.figures(some)["16"]
    assert found["rps"] == 20.0 and found["p50"] == 2.0 and found["p99"] == 2.0
    assert found["p99_all"] == 3.0  # of 150 requests, one took longer than 3 ms
    assert found["requests"] == 160 and found["failed"] == 10
    assert found["cpu_ms"] == pytest.approx(1e3 * 3.2 / 160)


def test_values_are_paired_by_round_whatever_the_order_in_which_they_were_measured():
    slow = [1.0 + place for place in range(40)]  # the machine gets slower, for both alike
    ours = [window("weigh", place, [1.0] * 30, slow[place]) for place in range(40)]
    theirs = [window("peer", place, [1.0] * 10, slow[place]) for place in reversed(range(40))]
    found = figures.ratio([*theirs, *ours], "weigh", "peer", "16", figures.rate)
    assert found.low == pytest.approx(3.0) and found.high == pytest.approx(3.0) and found.n == 40
    with pytest.raises(ValueError, match="do not match"):
        figures.ratio([*ours, *theirs[1:]], "weigh", "peer", "16", figures.rate)


def test_ranks_count_the_peers_that_are_better_and_a_tie_within_noise_is_not_sure():
    chance = np.random.default_rng(0)
    noise = np.exp(chance.normal(0, 0.2, 40))
    ratios = {
        name: median_ratio(value * noise, np.ones(40), 0.05)
        for name, value in (("slow", 3.0), ("equal", 1.02), ("fast", 0.5))
    }
    assert figures.rank(ratios, True) == 2 + (ratios["equal"].estimate < 1)
    assert figures.rank(ratios, False) == 2 + (ratios["equal"].estimate > 1)
    assert figures.sure({"slow": ratios["slow"]}, True) and not figures.sure({"slow": ratios["slow"]}, False)
    assert not figures.sure({"slow": ratios["slow"], "equal": ratios["equal"]}, True)


def test_processor_time_is_of_the_whole_tree_and_what_rests_uses_none():
    spin = "import subprocess, sys, time\n"
    spin += "child = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\nprint(child.pid, flush=True)\n"
    spin += "time.sleep(60)\n"
    parent = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    tree = Tree(parent.pid)
    try:
        before, began = tree.used(), time.process_time()
        assert child in {pid for pid, _ in before} and parent.pid in {pid for pid, _ in before}
        time.sleep(0.4)
        busy = spent(before, tree.used())
        assert 0.05 <= busy <= 0.6 and time.process_time() - began < 0.2  # the child's, not ours
        tree.rest()
        time.sleep(0.05)
        assert tree.idle(0.3) == 0.0
        tree.go_on()
        before = tree.used()
        time.sleep(0.3)
        assert spent(before, tree.used()) > 0
    finally:
        tree.go_on()
        for pid in (child, parent.pid):
            subprocess.run(["kill", "-9", str(pid)], check=True)
        parent.wait()
        parent.stdout.close()


def test_a_server_that_answers_is_held_to_the_numbers_and_measured_in_turns(net, load, tmp_path):
    servers = [served(net, tmp_path, name="one"), served(net, tmp_path, name="two")]
    try:
        assert all(server.check(load, 20) <= 1e-6 for server in servers)
        windows = played(servers, (1, 4), 2, 0.05, load, 0, ("two",))
        seen = {(one.server, one.kind, one.round) for one in windows}
        assert len(windows) == 8 and len(seen) == 8
        assert all(one.failed == 0 and one.rate > 0 and one.quantile(0.99) >= one.quantile(0.5) for one in windows)
        assert sum(one.cpu for one in windows) > 0
    finally:
        for server in servers:
            server.close()


def test_other_numbers_stop_the_run_and_a_server_that_fails_all_is_no_window(net, load, tmp_path):
    wrong = served(net, tmp_path, off=1e-3, name="wrong")
    try:
        with pytest.raises(UsageError, match=r"wrong differs from ONNX Runtime by 0\.001"):
            wrong.check(load, 10)
    finally:
        wrong.close()
    no_content = served(net, tmp_path, status="203", name="refusing")
    try:
        with pytest.raises(UsageError, match="answered 0 of 10"):
            no_content.check(load, 10)
        with pytest.raises(UsageError, match="answered none of"):
            measured(no_content, "1", 0, load, 1, 0.05)
    finally:
        no_content.close()


def test_what_is_asked_of_each_peer_is_the_same_row_and_the_challenger_gives_the_same_numbers(net):
    from weigh.model.session import load_session

    row = [round(float(one), 4) for one in net.rows[3]]
    asked = json.loads(json.dumps(setup.tensors(row)))["inputs"][0]
    assert np.array_equal(np.array(asked["data"], np.float32), net.rows[3]) and asked["shape"] == [1, 64]
    other = load_session(net.challenger, 1).run(None, {"x": net.rows[3:4]})[0]
    assert np.array_equal(other[0], net.answers[3]) and net.path.read_bytes() != net.challenger.read_bytes()


def test_the_bare_runtime_is_faster_than_with_json(net):
    bare, with_json = np.median([Runtime(net).rates(0.02) for _ in range(5)], axis=0)
    assert bare > with_json > 0


def test_a_run_against_some_peers_is_asked_for_by_name():
    asked = arguments(["--peer", "fastapi", "--rounds", "2"])
    assert asked.peer == ["fastapi"] and asked.rounds == 2
    with pytest.raises(SystemExit):
        arguments(["--peer", "nobody"])
