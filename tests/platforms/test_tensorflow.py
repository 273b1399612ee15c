"""A SavedModel out of an ONNX file returns the same numbers under TensorFlow, and over TensorFlow Serving's API."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from shifted import shifted

from weigh.choice import Unfit
from weigh.cli import main
from weigh.serve.platform import Served
from weigh.serve.platform import _savedmodel as made_by
from weigh.serve.platform._bench import PlatformBench
from weigh.serve.platform._environment import python_of
from weigh.serve.platform._load import Generator
from weigh.serve.platform._savedmodel import ENVIRONMENTS, Differs, run_savedmodel, write_savedmodel
from weigh.serve.platform.tf_serving import Started, TfServing

CHANCE = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow(need) -> None:
    need(*ENVIRONMENTS)


def graph_of(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[object], to: Path) -> Path:
    """A graph of float32 from `x` to `y`."""
    graph = helper.make_graph(
        nodes, "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=9), to)
    return to


def numbers(*shape: int) -> np.ndarray:
    return CHANCE.normal(size=shape).astype(np.float32)


def convolutional(to: Path) -> tuple[Path, np.ndarray]:
    """Strides, padding, groups of one, both poolings, batch normalisation, a residual and a reshape."""
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "k1", "c1"], ["a"], kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 1, 2]),
        make("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"], epsilon=1e-3),
        make("LeakyRelu", ["n"], ["r"], alpha=0.2),
        make("Conv", ["r", "k2"], ["d"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], dilations=[1, 1]),
        make("Add", ["r", "d"], ["e"]),
        make("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 0, 0]),
        make("AveragePool", ["f"], ["g"], kernel_shape=[2, 2], strides=[1, 1]),
        make("Clip", ["g", "low", "high"], ["h"]),
        make("Reshape", ["h", "to"], ["i"]),
        make("Gemm", ["i", "w", "o"], ["j"], transB=1, alpha=0.5, beta=2.0),
        make("Softmax", ["j"], ["y"], axis=-1),
    ]
    weights = {
        "k1": numbers(4, 3, 3, 3), "c1": numbers(4), "k2": numbers(4, 4, 3, 3), "s": numbers(4), "b": numbers(4),
        "m": numbers(4), "v": numbers(4) ** 2 + np.float32(0.1), "low": np.array(-2.0, np.float32),
        "high": np.array(2.0, np.float32), "to": np.array([0, -1], np.int64), "o": numbers(5),
    }  # fmt: skip
    X = numbers(7, 3, 9, 8)
    weights["w"] = numbers(5, 4 * 2 * 3)
    return graph_of(nodes, weights, ["rows", 3, 9, 8], to), X


def attentive(to: Path) -> tuple[Path, np.ndarray]:
    """Products of three axes, layer normalisation, a slice, a mean, powers and error functions."""
    make = helper.make_node
    nodes = [
        make("LayerNormalization", ["x", "s", "b"], ["n"], axis=-1),
        make("MatMul", ["n", "w"], ["q"]),
        make("Transpose", ["n"], ["t"], perm=[0, 2, 1]),
        make("MatMul", ["q", "t"], ["p"]),
        make("Softmax", ["p"], ["a"], axis=-1),
        make("MatMul", ["a", "n"], ["c"]),
        make("Slice", ["c", "from", "to", "axes"], ["d"]),
        make("Erf", ["d"], ["e"]), make("Pow", ["e", "two"], ["f"]), make("Sqrt", ["f"], ["g"]),
        make("ReduceMean", ["g", "axes"], ["h"], keepdims=0),
        make("Unsqueeze", ["h", "axes"], ["i"]), make("Squeeze", ["i", "axes"], ["j"]),
        make("Concat", ["j", "h"], ["y"], axis=1),
    ]  # fmt: skip
    weights = {
        "s": numbers(6), "b": numbers(6), "w": numbers(6, 6), "from": np.array([1], np.int64),
        "to": np.array([4], np.int64), "axes": np.array([1], np.int64), "two": np.array(2.0, np.float32),
    }  # fmt: skip
    return graph_of(nodes, weights, ["rows", 5, 6], to), numbers(8, 5, 6)


@pytest.mark.parametrize("made", [convolutional, attentive], ids=lambda made: made.__name__)
def test_nets_return_the_same_numbers(made, tmp_path: Path) -> None:
    graph, X = made(tmp_path / "net.onnx")
    assert write_savedmodel(graph, tmp_path / "net" / "1", "net", {"x": X}, "y") < 1e-5
    few = run_savedmodel(tmp_path / "net" / "1", {"x": X[:1]})["y"]
    many = run_savedmodel(tmp_path / "net" / "1", {"x": X})["y"]
    assert few == pytest.approx(many[:1], abs=1e-5), "any number of rows"


def test_a_pipeline_of_scikit_learn_returns_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'weigh[pickled]'")
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx: pip install 'weigh[pickled]'")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = numbers(300, 5)
    y = (X[:, 0] > 0.4).astype(int) + (X[:, 1] > 0)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    model = skl2onnx.to_onnx(fitted, X[:1], options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    output = model.graph.output[1].name
    assert write_savedmodel(tmp_path / "net.onnx", tmp_path / "1", "net", {"X": X[:40]}, output) < 1e-5
    assert run_savedmodel(tmp_path / "1", {"X": X})[output] == pytest.approx(fitted.predict_proba(X), abs=1e-5)


def test_an_operator_that_is_not_translated_is_named(tmp_path: Path) -> None:
    graph = graph_of([helper.make_node("Hardmax", ["x"], ["y"])], {}, ["rows", 4], tmp_path / "net.onnx")
    with pytest.raises(Unfit, match=r"the operator Hardmax of net\.onnx is not translated to TensorFlow"):
        write_savedmodel(graph, tmp_path / "1", "net", {"x": numbers(3, 4)}, "y")
    assert not (tmp_path / "1").exists()


def test_a_translation_that_computes_something_else_is_not_written(
    bench: PlatformBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: the translator takes the absolute value for ReLU."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(made_by.WRITER.read_text().replace('"Relu": tf.nn.relu', '"Relu": tf.abs'))
    monkeypatch.setattr(made_by, "WRITER", wrong)
    with pytest.raises(Differs, match=r"TensorFlow answers toy\.onnx otherwise than ONNX Runtime does"):
        write_savedmodel(bench.task.model, tmp_path / "1", "toy", bench.rows.feeds, "scores")
    assert not (tmp_path / "1").exists()


READ = """
import sys, numpy as np, tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
model, asked = sys.argv[1:]
(record,) = tf.data.TFRecordDataset(model + "/assets.extra/tf_serving_warmup_requests").as_numpy_iterator()
request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
assert (request.model_spec.name, request.model_spec.signature_name) == ("toy", "serving_default"), request.model_spec
(values,) = [tf.make_ndarray(one) for one in request.inputs.values()]
assert list(request.inputs) == ["x"] and np.array_equal(values, np.load(asked)[:1]), values
signature = tf.saved_model.load(model).signatures[request.model_spec.signature_name]
assert signature.structured_input_signature[1]["x"].shape.as_list() == [None, 16]
assert list(signature.structured_outputs) == ["scores"]
print("read")
"""


def test_tensorflow_servings_own_classes_read_the_warm_up_and_the_signature(
    bench: PlatformBench, tmp_path: Path
) -> None:
    write_savedmodel(bench.task.model, tmp_path / "toy" / "1", "toy", bench.rows.feeds, "scores")
    np.save(tmp_path / "x.npy", bench.rows.feeds["x"])
    words = [str(python_of("tfx")), "-W", "ignore", "-c", READ, str(tmp_path / "toy" / "1"), str(tmp_path / "x.npy")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.strip() == "read", done.stderr[-800:]


SERVER = '''#!{python} -W ignore
"""The REST API of TensorFlow Serving over SavedModels that TensorFlow loads: what there is no package of."""
import http.server, json, os, re, socketserver, sys, threading, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf

flags = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
config = open(flags["model_config_file"]).read()
(name,), (base,) = re.findall('name: "([^"]+)"', config), re.findall('base_path: "([^"]+)"', config)
loaded = dict()

def look():
    while True:
        for version in sorted(int(one) for one in os.listdir(base) if one.isdigit()):
            if version not in loaded:
                loaded[version] = tf.saved_model.load(os.path.join(base, str(version))).signatures["serving_default"]
        time.sleep(float(flags["file_system_poll_wait_seconds"]))

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        found = re.fullmatch(f"/v1/models/{{name}}/versions/(\\\\d+)", self.path)
        there = found is not None and int(found[1]) in loaded
        state = dict(version=found and found[1], state="AVAILABLE" if there else "LOADING")
        self.say(200 if there else 404, dict(model_version_status=[state]))

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != f"/v1/models/{{name}}:predict" or not loaded:
            return self.say(404, dict(error="no such model"))
        made = loaded[max(loaded)](**{{key: tf.constant(value, tf.float32) for key, value in asked["inputs"].items()}})
        self.say(200, dict(outputs=next(iter(made.values())).numpy().tolist()))

    def log_message(self, *words):
        pass

threading.Thread(target=look, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Handler).serve_forever()
'''


def test_the_option_speaks_the_servers_api(
    bench: PlatformBench, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no package of TensorFlow Serving: a server of the same REST API, over TensorFlow itself, is asked."""
    from dataclasses import replace

    binary = tmp_path / "tensorflow_model_server"
    binary.write_text(SERVER.format(python=python_of("tfx")))
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert TfServing.needs.missing() == []
    made, load = TfServing().start(served, tmp_path), Generator()
    try:
        assert isinstance(made, Started) and bench._parity(made, "tf_serving") < 1e-6
        other, feed = shifted(bench.task.model, tmp_path / "other.onnx"), bench.feed(3)
        made.swap(replace(bench.source, path=other))
        seen = load.run(made.url, [made.request(feed)], 1, count=3, keep=3)
        assert made.answer(seen.bodies[2])[0] == pytest.approx(bench.direct(feed)[0] + 1, abs=1e-5)
        assert sorted(one.name for one in made._home.iterdir()) == ["1", "2"]
    finally:
        made.close()
        load.close()


def test_the_verb_writes_two_versions_with_labels(bench: PlatformBench, tmp_path: Path) -> None:
    other = shifted(bench.task.model, tmp_path / "other.onnx")
    words = ["deploy", str(bench.task.model), "--platform", "tfserving", "--name", "toy", "--challenger", str(other)]
    assert main([*words, "--to", str(tmp_path / "out")]) == 0
    X = bench.rows.feeds["x"][:5]
    first, second = (run_savedmodel(tmp_path / "out" / "toy" / str(n), {"x": X})["scores"] for n in (1, 2))
    assert second - first == pytest.approx(np.ones((5, 4)), abs=1e-5)
    assert 'key: "canary" value: 2' in (tmp_path / "out" / "models.config").read_text()
