"""The one request path, on a server that was started for real: what it answers, what it refuses, what it keeps."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from servers import Running, body, write_net

from weigh.server.model import open_model
from weigh.server.run import token_of

WEBS = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def server(nets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    made = Running(nets["net"], tmp_path_factory.mktemp("one") / "state", ("--log-inputs",))
    yield made.start()
    assert made.stop() == 0


def test_answers_are_those_of_the_model(server: Running, nets: dict[str, Path]):
    model, rng = open_model(nets["net"]), np.random.default_rng(0)
    for rows in (1, 3, 64):
        told = body(rng, rows=rows)
        status, headers, found = server.infer(told)
        wanted = model.run({"x": np.array(told["inputs"][0]["data"], "f4").reshape(rows, 4)})["y"]
        assert status == 200 and headers["x-weigh-arm"] == "champion"
        assert found["model_version"] == model.version and found["outputs"][0]["shape"] == [rows, 3]
        np.testing.assert_array_equal(np.array(found["outputs"][0]["data"], "f4"), wanted.ravel())


def test_tritonclient_works_unchanged(server: Running):
    import tritonclient.http as triton

    client = triton.InferenceServerClient("{}:{}".format(*server.address))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("net")
    assert client.get_model_metadata("net")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    rows = np.random.default_rng(1).normal(size=(5, 4)).astype("f4")
    found = []
    for binary in (True, False):
        given = triton.InferInput("x", [5, 4], "FP32")
        given.set_data_from_numpy(rows, binary_data=binary)
        wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
        found.append(client.infer("net", [given], outputs=wanted, request_id="r1").as_numpy("y"))
    np.testing.assert_array_equal(found[0], found[1])
    with pytest.raises(triton.InferenceServerException, match="there is no model 'nope'"):
        client.infer("nope", [given])
    client.close()


GOOD = body()


def _with(**changes: object) -> dict[str, object]:
    return {"inputs": [{**GOOD["inputs"][0], **changes}]}


BAD = {
    "no JSON": (b"{", "is no JSON"),
    "empty": (b"", "is no JSON"),
    "a list": (b"[]", "no object"),
    "no UTF-8": (b'{"id": "\xff\xfe"}', "is no JSON"),
    "NaN": (json.dumps(_with(data=[float("nan")] * 4)).encode(), "is no JSON"),
    "deep": (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is no JSON"),
    "deep data": (json.dumps(_with(data=[[[[1, 2, 3, 4]]]], shape=[1, 4, 1])).encode(), "shape"),
    "no inputs": ({"inputs": []}, "no list of tensors"),
    "another input": ({"inputs": [{**GOOD["inputs"][0], "name": "z"}]}, "takes no input 'z'"),
    "twice": ({"inputs": GOOD["inputs"] * 2}, "given twice"),
    "another shape": (_with(shape=[1, 5], data=[0] * 5), "has the shape"),
    "a negative shape": (_with(shape=[-1, 4]), "whole numbers"),
    "a fractional shape": (_with(shape=[1.0, 4]), "whole numbers"),
    "no rows": (_with(shape=[0, 4], data=[]), "is empty"),
    "an endless shape": (_with(shape=[10**18, 4]), "has 4 values"),
    "too few": (_with(data=[1, 2, 3]), "has 3 values"),
    "ragged": (_with(data=[[1, 2], [3]]), "ragged"),
    "text": (_with(data=["1", "2", "3", "4"]), "not all FP32"),
    "null": (_with(data=[None] * 4), "not all FP32"),
    "booleans": (_with(data=[True] * 4), "not all FP32"),
    "a boolean among numbers": (_with(data=[[1.0, 2.0], [3.0, True]]), "not all FP32"),
    "too large": (_with(data=[1e300] * 4), "cannot"),
    "another type": (_with(datatype="INT64"), "is FP32"),
    "another output": ({**GOOD, "outputs": [{"name": "z"}]}, "gives no output 'z'"),
    "outputs of a number": ({**GOOD, "outputs": 3}, "no list"),
    "an id of a number": ({**GOOD, "id": 3}, "'id' is no text"),
    "an id with a line": ({**GOOD, "id": "a\nb"}, "printable"),
    "a unit of a list": ({**GOOD, "parameters": {"unit": []}}, "'unit' is no text"),
    "bytes without a header": (_with(parameters={"binary_data_size": 16}), "Inference-Header-Content-Length"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_is_refused_in_words(server: Running, kind: str):
    told, why = BAD[kind]
    before = len(server.logged())
    status, _, found = server.infer(told)
    assert status == 400 and why in found["error"] and len(found["error"]) < 600
    assert len(server.logged()) == before, "what never reached a model is no prediction"
    assert server.infer()[0] == 200


BINARY = {
    "beyond the body": (16, 9999, "has"),
    "not a number": (16, "x", "no whole number"),
    "too few bytes": (12, None, "bytes, but its shape"),
    "left over": (20, None, "bytes follow"),
}


@pytest.mark.parametrize("kind", BINARY)
def test_binary_data_that_does_not_fit_is_refused(server: Running, kind: str):
    size, header, why = BINARY[kind]
    told = {"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": min(size, 16)}}
    head = json.dumps({"inputs": [told]}).encode()
    length = str(len(head) if header is None else header)
    status, _, found = server.infer(head + b"\0" * size, inference_header_content_length=length)
    assert status == 400 and why in found["error"]


def test_nan_in_bytes_is_refused(server: Running):
    head = json.dumps(_with(parameters={"binary_data_size": 16}, data=None)).replace(', "data": null', "").encode()
    raw = np.full(4, np.nan, "f4").tobytes()
    status, _, found = server.infer(head + raw, inference_header_content_length=str(len(head)))
    assert status == 400 and "NaN" in found["error"]


def test_a_huge_body_is_refused_before_it_is_read(server: Running):
    with socket.create_connection(server.address, timeout=30) as raw:
        raw.sendall(b"POST /v2/models/net/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n{")
        assert raw.recv(64).startswith(b"HTTP/1.1 413")
    with socket.create_connection(server.address, timeout=30) as raw:
        raw.sendall(b"POST /v2/models/net/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = b""
        with contextlib.suppress(OSError):  # it hangs up on who goes on
            for _ in range(400):
                raw.sendall(piece)
        while part := raw.recv(4096):
            answer += part
            if b"\r\n\r\n" in answer:
                break
        assert answer.startswith(b"HTTP/1.1 413")
    assert server.infer()[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/v2/models/nope", 404), ("GET", "/v2/models/net/versions/7", 404),
     ("POST", "/v2/models/net/versions/7/infer", 404), ("GET", "/v2/models/net/infer", 405), ("PUT", "/feedback", 405),
     ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 404), ("GET", "/../../etc/passwd", 404),
     ("POST", "/v2/models/%2e%2e/infer", 404)],
)  # fmt: skip
def test_what_is_not_there(server: Running, method: str, path: str, status: int):
    found, headers, told = server.call(method, path, b"{}" if method == "POST" else None)
    assert found == status and headers["content-type"] == "application/json" and told["error"]


def test_the_log_has_what_was_answered(server: Running):
    told = body(np.random.default_rng(5), unit="ann", request="first")
    _, headers, found = server.infer(told)
    entry = next(one for one in server.logged() if one["id"] == "first")
    assert headers["x-request-id"] == "first" and entry["arm"] == "champion" and entry["status"] == 200
    assert entry["out"]["y"] == found["outputs"][0]["data"] and entry["version"] == found["model_version"]
    np.testing.assert_allclose(entry["in"]["x"], told["inputs"][0]["data"], rtol=1e-6)
    assert "ann" not in json.dumps(entry), "units are kept as digests"
    named = server.infer(body(), x_request_id="second", x_unit_id="ann")[1]["x-request-id"]
    assert named == "second"
    assert next(one for one in server.logged() if one["id"] == "second")["unit"] == entry["unit"]


def test_feedback_is_kept_and_refused_in_words(server: Running):
    assert server.call("POST", "/feedback", {"id": "first", "values": {"bought": 1}})[2] == {"kept": 1}
    many = [{"id": f"x{k}", "values": {"bought": 0}} for k in range(3)]
    assert server.call("POST", "/feedback", many)[2] == {"kept": 3}
    assert [one["id"] for one in server.logged("feedback")][-3:] == ["x0", "x1", "x2"]
    for bad in ({"id": "a"}, {"id": "", "values": {"b": 1}}, {"id": "a", "values": {"b": "x"}}, [1], "x"):
        status, _, found = server.call("POST", "/feedback", bad)
        assert status == 400 and found["error"]


def test_metrics_count_by_arm(server: Running):
    from prometheus_client.parser import text_string_to_metric_families

    def counted(status: str) -> float:
        text = server.call("GET", "/metrics")[2].decode()
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        assert {"weigh_arm_up", "weigh_arm_share", "weigh_log_lost"} <= {one.name for one in samples}
        return sum(
            one.value for one in samples if one.name == "weigh_requests_total" and one.labels["status"] == status
        )

    before = [counted(status) for status in ("200", "400")]
    for told in (body(), body(), {}):
        server.infer(told)
    assert [counted(status) for status in ("200", "400")] == [before[0] + 2, before[1] + 1]


def test_admin_calls_need_the_token_and_predictions_do_not(server: Running):
    for method, path in (("GET", "/admin/status"), ("PUT", "/admin/champion"), ("POST", "/admin/rollout"),
                         ("GET", "/admin/rollout"), ("DELETE", "/admin/rollout")):  # fmt: skip
        for headers in ({}, {"authorization": "Bearer nope"}, {"authorization": f"Basic {server.token}"}):
            status, found, told = server.call(method, path, b"{}", **headers)
            assert status == 401 and found["www-authenticate"] == "Bearer" and "token" in told["error"]
    assert (server.state / "token").stat().st_mode & 0o777 == 0o600
    assert server.admin("GET", "/admin/status")[1]["name"] == "net"
    assert token_of(server.state) == server.token


def test_a_token_that_was_removed_is_drawn_anew(serve: Callable[..., Running]):
    server = serve()
    old = server.token

    def allowed(token: str) -> int:
        status: int = server.call("GET", "/admin/status", None, authorization=f"Bearer {token}")[0]
        return status

    (server.state / "token").unlink()
    assert allowed(old) == 200, "the old one holds until there is another"
    fresh = token_of(server.state)
    assert fresh != old and allowed(fresh) == 200 and allowed(old) == 401


def test_paths_that_lead_to_no_model_are_refused_with_the_reason(server: Running):
    for path in ("/proc/self/mem", "x" * 5000, "/dev/null/x", ".", "a\nb"):
        status, told = server.admin("PUT", "/admin/champion", {"path": path})
        assert status == 409 and told["error"], path
    for method, path, told, why in (
        ("PUT", "/admin/champion", {}, 'send {"path": PATH OF THE MODEL}: path: Field required'),
        ("POST", "/admin/rollout", {"challenger": {"path": "x"}}, "'plan' is missing"),
    ):
        status, found = server.admin(method, path, told)
        assert status == 400 and found["error"].endswith(why)
    assert server.infer()[0] == 200


def test_it_listens_on_loopback_alone(server: Running):
    import psutil

    there = [one.laddr.ip for one in server.router().net_connections() if one.status == psutil.CONN_LISTEN]
    assert set(there) == {"127.0.0.1"}


def test_a_private_server_wants_the_token_for_predictions(serve: Callable[..., Running]):
    server = serve("--private")
    assert server.infer()[0] == 401
    assert server.infer(None, authorization=f"Bearer {server.token}")[0] == 200
    assert server.call("POST", "/feedback", {"id": "a", "values": {"b": 1}})[0] == 401


def test_swaps_lose_no_request(serve: Callable[..., Running], nets: dict[str, Path], tmp_path: Path):
    from servers import Load

    server = serve()
    versions = {open_model(nets[name]).version for name in ("net", "near")}
    with Load(server) as load:
        for name in ("near", "net", "near"):
            load.more(50)
            status, told = server.admin("PUT", "/admin/champion", {"path": str(nets[name])})
            assert status == 200 and told["arms"][0]["version"] in versions
        load.more(50)
    assert load.broken == 0 and load.refused == {} and len(load.answered) >= 200
    assert {one["version"] for one in server.logged()} == versions
    wide = tmp_path / "wide.onnx"
    write_wide(wide)
    for path, why in ((wide, "clients could not call it"), (tmp_path / "no.onnx", "no such file")):
        status, told = server.admin("PUT", "/admin/champion", {"path": str(path)})
        assert status == 409 and why in told["error"]
    assert server.infer()[0] == 200


def write_wide(path: Path) -> None:
    """A model that takes something else."""
    import onnx

    model = onnx.load(write_net(path))
    model.graph.input[0].name = "other"
    model.graph.node[0].input[0] = "other"
    onnx.save(model, path)


def test_too_many_are_refused_and_the_late_are_given_up(serve: Callable[..., Running]):
    server = serve("--queue", "3", model="slow")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda _: server.infer(_rows(1.0)), range(48)))
    statuses = {status for status, *_ in found}
    assert statuses == {200, 429}
    assert all(headers["retry-after"] == "1" for status, headers, _ in found if status == 429)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        late = list(pool.map(lambda _: server.infer(_rows(1.0), x_deadline_ms="1"), range(3)))
    assert 504 in {status for status, *_ in late}
    assert server.infer(_rows(1.0))[0] == 200
    counts = [one["status"] for one in server.logged()]
    assert set(counts) == {200, 429, 504}


def _rows(value: float) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [value] * 4}]}
