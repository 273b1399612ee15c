"""What runs under TensorFlow: writes a SavedModel of a graph that was read elsewhere, and answers with one.

It runs as a file, in whichever Python has TensorFlow, without weigh and without onnx: `write FOLDER` finds `graph.json`
and `weights.npz` there and writes `model/`; `run MODEL INPUTS.npz OUTPUTS.npz` loads one and answers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

SIGNATURE = "serving_default"
WARMUP = "tf_serving_warmup_requests"
SMALL = 8
"""Numbers up to which a weight is a constant of the graph: shapes and limits must be."""


class Unknown(Exception):
    """An operator, or a way of using it, that is not translated here."""


def padding(node: dict[str, Any], spatial: int) -> Any:
    """Zeros before and after each spatial axis; as TensorFlow's word for it where there is no number."""
    automatic = node["attributes"].get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        if automatic == "SAME_LOWER":
            raise Unknown("auto_pad=SAME_LOWER")
        return "SAME"
    pads = [0] * (2 * spatial) if automatic == "VALID" else node["attributes"].get("pads", [0] * (2 * spatial))
    return [[pads[axis], pads[axis + spatial]] for axis in range(spatial)]


def channels_last(x: Any) -> Any:
    import tensorflow as tf

    rank = len(x.shape)
    return tf.transpose(x, [0, *range(2, rank), 1])


def channels_first(x: Any) -> Any:
    import tensorflow as tf

    rank = len(x.shape)
    return tf.transpose(x, [0, rank - 1, *range(1, rank - 1)])


def convolution(node: dict[str, Any], x: Any, w: Any, b: Any = None) -> Any:
    """Conv of any number of spatial axes; on a CPU TensorFlow convolves with channels last alone."""
    import tensorflow as tf

    spatial = len(w.shape) - 2
    strides = node["attributes"].get("strides", [1] * spatial)
    dilations = node["attributes"].get("dilations", [1] * spatial)
    pads = padding(node, spatial)
    x = channels_last(x)
    if pads != "SAME":
        x = tf.pad(x, [[0, 0], *pads, [0, 0]])
    kernel = tf.transpose(w, [*range(2, spatial + 2), 1, 0])
    made = tf.nn.convolution(x, kernel, strides, "SAME" if pads == "SAME" else "VALID", dilations=dilations)
    made = channels_first(made)
    return made if b is None else made + tf.reshape(b, [1, -1] + [1] * spatial)


def pooling(kind: str) -> Callable[..., Any]:
    """MaxPool or AveragePool."""

    def pool(node: dict[str, Any], x: Any) -> Any:
        import tensorflow as tf

        attributes, spatial = node["attributes"], len(x.shape) - 2
        if attributes.get("ceil_mode", 0) or any(one != 1 for one in attributes.get("dilations", [1])):
            raise Unknown("ceil_mode or dilations")
        window, strides = attributes["kernel_shape"], attributes.get("strides", [1] * spatial)
        pads = padding(node, spatial)
        last = channels_last(x)
        if pads == "SAME":
            return channels_first(tf.nn.pool(last, window, kind, strides, "SAME"))
        if any(any(one) for one in pads):
            if kind == "AVG" and not attributes.get("count_include_pad", 0):
                raise Unknown("padding that is not counted")
            value = last.dtype.min if kind == "MAX" else 0
            last = tf.pad(last, [[0, 0], *pads, [0, 0]], constant_values=value)
        return channels_first(tf.nn.pool(last, window, kind, strides, "VALID"))

    return pool


def normalised(node: dict[str, Any], x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    import tensorflow as tf

    shape = [1, -1] + [1] * (len(x.shape) - 2)
    scale, bias, mean, variance = (tf.reshape(one, shape) for one in (scale, bias, mean, variance))
    return (x - mean) * (scale / tf.sqrt(variance + node["attributes"].get("epsilon", 1e-5))) + bias


def layer_normalised(node: dict[str, Any], x: Any, scale: Any, bias: Any = None) -> Any:
    import tensorflow as tf

    axis = node["attributes"].get("axis", -1)
    axes = list(range(axis if axis >= 0 else len(x.shape) + axis, len(x.shape)))
    # written out, as TensorFlow's remapper fuses `tf.nn.moments` and what follows into a kernel of oneDNN that was seen
    # to be off by a thousandth
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(centred * centred, axes, keepdims=True)
    made = centred / tf.sqrt(variance + node["attributes"].get("epsilon", 1e-5)) * scale
    return made if bias is None else made + bias


def general_product(node: dict[str, Any], a: Any, b: Any, c: Any = None) -> Any:
    import tensorflow as tf

    attributes = node["attributes"]
    made = attributes.get("alpha", 1.0) * tf.matmul(
        a, b, transpose_a=bool(attributes.get("transA", 0)), transpose_b=bool(attributes.get("transB", 0))
    )
    return made if c is None else made + attributes.get("beta", 1.0) * c


def flattened(node: dict[str, Any], x: Any) -> Any:
    import tensorflow as tf

    axis = node["attributes"].get("axis", 1)
    if axis != 1:
        raise Unknown(f"axis={axis}")
    inner = 1
    for size in x.shape[1:]:
        inner *= size
    return tf.reshape(x, [-1, inner])


def reshaped(node: dict[str, Any], x: Any, shape: Any) -> Any:
    import tensorflow as tf

    wanted = tf.get_static_value(shape)
    if wanted is None:
        return tf.reshape(x, tf.cast(shape, tf.int32))
    return tf.reshape(x, [tf.shape(x)[place] if one == 0 else int(one) for place, one in enumerate(wanted.ravel())])


def axes_of(node: dict[str, Any], rest: Any) -> Any:
    """Axes of newer operators come as an input, of older ones as an attribute."""
    import tensorflow as tf

    if rest:
        found = tf.get_static_value(rest[0])
        if found is None:
            raise Unknown("axes that are computed")
        return [int(one) for one in found.ravel()]
    return node["attributes"].get("axes")


def reduced(name: str) -> Callable[..., Any]:
    def reduce(node: dict[str, Any], x: Any, *rest: Any) -> Any:
        import tensorflow as tf

        keep = bool(node["attributes"].get("keepdims", 1))
        return getattr(tf, f"reduce_{name}")(x, axes_of(node, rest), keepdims=keep)

    return reduce


def squeezed(node: dict[str, Any], x: Any, *rest: Any) -> Any:
    import tensorflow as tf

    return tf.squeeze(x, axes_of(node, rest))


def unsqueezed(node: dict[str, Any], x: Any, *rest: Any) -> Any:
    import tensorflow as tf

    for axis in sorted(axes_of(node, rest)):
        x = tf.expand_dims(x, axis)
    return x


def sliced(node: dict[str, Any], x: Any, *rest: Any) -> Any:
    import tensorflow as tf

    parts = [tf.get_static_value(one) for one in rest]
    if any(one is None for one in parts[:2]):
        raise Unknown("ends that are computed")
    starts, ends = parts[0].ravel(), parts[1].ravel()
    axes = parts[2].ravel() if len(parts) > 2 else range(len(starts))
    steps = parts[3].ravel() if len(parts) > 3 else [1] * len(starts)
    which = [slice(None)] * len(x.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps):
        if step < 1:
            raise Unknown("steps below one")
        which[int(axis)] = slice(int(start), None if end > 2**31 - 2 else int(end), int(step))
    return x[tuple(which)]


def clipped(node: dict[str, Any], x: Any, *rest: Any) -> Any:
    import tensorflow as tf

    low = rest[0] if rest and rest[0] is not None else node["attributes"].get("min", x.dtype.min)
    high = rest[1] if len(rest) > 1 and rest[1] is not None else node["attributes"].get("max", x.dtype.max)
    return tf.minimum(tf.maximum(x, tf.cast(low, x.dtype)), tf.cast(high, x.dtype))


def gelu(node: dict[str, Any], x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.gelu(x, approximate=node["attributes"].get("approximate", "none") == "tanh")


def cast(node: dict[str, Any], x: Any) -> Any:
    import tensorflow as tf

    kinds = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64", 2: "uint8", 3: "int8"}
    if node["attributes"]["to"] not in kinds:
        raise Unknown(f"a cast to the type {node['attributes']['to']}")
    return tf.cast(x, kinds[node["attributes"]["to"]])


def scaled(node: dict[str, Any], x: Any) -> Any:
    """ai.onnx.ml Scaler."""
    import tensorflow as tf

    attributes = node["attributes"]
    return (tf.cast(x, tf.float32) - attributes["offset"]) * attributes["scale"]


def linear_classifier(node: dict[str, Any], x: Any) -> Any:
    """ai.onnx.ml LinearClassifier: the label, and a score a class."""
    import tensorflow as tf

    attributes = node["attributes"]
    labels = attributes.get("classlabels_ints")
    if not labels:
        raise Unknown("labels that are no whole numbers")
    count = len(attributes["intercepts"])
    weights = tf.reshape(tf.constant(attributes["coefficients"], tf.float32), [count, -1])
    scores = tf.matmul(tf.cast(x, tf.float32), weights, transpose_b=True) + attributes["intercepts"]
    if count == 1:
        raise Unknown("one row of coefficients for two classes")
    found = tf.gather(tf.constant(labels, tf.int64), tf.argmax(scores, 1))
    how = attributes.get("post_transform", "NONE")
    known = {"NONE": tf.identity, "SOFTMAX": tf.nn.softmax, "LOGISTIC": tf.sigmoid}
    if how not in known:
        raise Unknown(f"post_transform={how}")
    return found, known[how](scores)


def normalizer(node: dict[str, Any], x: Any) -> Any:
    """ai.onnx.ml Normalizer."""
    import tensorflow as tf

    how = node["attributes"].get("norm", "MAX")
    size = {"L1": tf.reduce_sum(tf.abs(x), 1, True), "L2": tf.sqrt(tf.reduce_sum(x * x, 1, True)),
            "MAX": tf.reduce_max(x, 1, True)}[how]  # fmt: skip
    return x / size


def operators() -> dict[str, Callable[..., Any]]:
    """Every operator that is translated, by its name in ONNX."""
    import tensorflow as tf

    def plain(function: Any) -> Callable[..., Any]:
        return lambda node, *x: function(*x)

    def axis(function: Any, default: int) -> Callable[..., Any]:
        return lambda node, x: function(x, axis=node["attributes"].get("axis", default))

    two: dict[str, Any] = {
        "Add": tf.add, "Sub": tf.subtract, "Mul": tf.multiply, "Div": tf.divide, "Pow": tf.pow, "MatMul": tf.matmul,
        "Equal": tf.equal, "Greater": tf.greater, "Less": tf.less, "Where": tf.where, "And": tf.logical_and,
        "Or": tf.logical_or, "Not": tf.logical_not, "Min": tf.minimum, "Max": tf.maximum,
    }  # fmt: skip
    one: dict[str, Any] = {
        "Relu": tf.nn.relu, "Sigmoid": tf.sigmoid, "Tanh": tf.tanh, "Exp": tf.exp, "Log": tf.math.log, "Sqrt": tf.sqrt,
        "Neg": tf.negative, "Abs": tf.abs, "Erf": tf.math.erf, "Floor": tf.floor, "Ceil": tf.math.ceil,
        "Identity": tf.identity, "Dropout": tf.identity, "Softplus": tf.nn.softplus, "Sign": tf.sign,
        "Reciprocal": tf.math.reciprocal,
    }  # fmt: skip
    made = {name: plain(function) for name, function in {**two, **one}.items()}
    made |= {
        "Softmax": axis(tf.nn.softmax, -1), "LogSoftmax": axis(tf.nn.log_softmax, -1),
        "Concat": lambda node, *x: tf.concat(x, node["attributes"]["axis"]),
        "Transpose": lambda node, x: tf.transpose(x, node["attributes"].get("perm")),
        "Gather": lambda node, x, places: tf.gather(x, places, axis=node["attributes"].get("axis", 0)),
        "LeakyRelu": lambda node, x: tf.nn.leaky_relu(x, node["attributes"].get("alpha", 0.01)),
        "Elu": lambda node, x: tf.where(x > 0, x, node["attributes"].get("alpha", 1.0) * tf.math.expm1(x)),
        "Shape": lambda node, x: tf.shape(x, out_type=tf.int64),
        "ArgMax": lambda node, x: tf.argmax(x, node["attributes"].get("axis", 0)),
        "GlobalAveragePool": lambda node, x: tf.reduce_mean(x, list(range(2, len(x.shape))), keepdims=True),
        "GlobalMaxPool": lambda node, x: tf.reduce_max(x, list(range(2, len(x.shape))), keepdims=True),
        "Conv": convolution, "MaxPool": pooling("MAX"), "AveragePool": pooling("AVG"), "Flatten": flattened,
        "BatchNormalization": normalised, "LayerNormalization": layer_normalised, "Gemm": general_product,
        "Reshape": reshaped, "Squeeze": squeezed, "Unsqueeze": unsqueezed, "Slice": sliced, "Clip": clipped,
        "Gelu": gelu, "Cast": cast, "Scaler": scaled, "LinearClassifier": linear_classifier, "Normalizer": normalizer,
        "ReduceMean": reduced("mean"), "ReduceSum": reduced("sum"), "ReduceMax": reduced("max"),
        "ReduceMin": reduced("min"), "ReduceProd": reduced("prod"),
    }  # fmt: skip
    return made


def module_of(graph: dict[str, Any], weights: dict[str, Any]) -> tuple[Any, Any]:
    """A module whose one function answers as the graph does."""
    import tensorflow as tf

    known = operators()
    for node in graph["nodes"]:
        if node["operator"] not in known:
            raise Unknown(f"the operator {node['operator']}")
    made = tf.Module()
    made.weights = {
        name: tf.Variable(value, trainable=False, name=f"w{place}")
        for place, (name, value) in enumerate(weights.items())
        if value.dtype.kind == "f" and value.size > SMALL
    }
    fixed = {name: value for name, value in weights.items() if name not in made.weights}

    def call(**feed: dict[str, Any]) -> Any:
        values = dict(feed)
        values |= {name: tf.convert_to_tensor(one) for name, one in made.weights.items()}
        values |= {name: tf.constant(one) for name, one in fixed.items()}
        for node in graph["nodes"]:
            given = [values[name] if name else None for name in node["inputs"]]
            try:
                found = known[node["operator"]](node, *given)
            except Unknown as error:
                raise Unknown(f"{error} of the operator {node['operator']}") from None
            found = found if isinstance(found, tuple) else (found,)
            values |= dict(zip(node["outputs"], found))
        return {name: tf.identity(values[name], name=f"out{place}") for place, name in enumerate(graph["outputs"])}

    specs = {one["name"]: tf.TensorSpec(one["shape"], one["dtype"], name=one["name"]) for one in graph["inputs"]}
    made.call = tf.function(call)
    return made, made.call.get_concrete_function(**specs)


def message(*fields: tuple[int, bytes]) -> bytes:
    """Fields of a protocol buffer that are messages or texts, by number.

    Source: Protocol Buffers, Encoding; wire type 2.
    """

    def varint(value: int) -> bytes:
        made = bytearray()
        while value > 127:
            made.append(value & 127 | 128)
            value >>= 7
        return bytes([*made, value])

    return b"".join(varint(number << 3 | 2) + varint(len(value)) + value for number, value in fields)


def warm(folder: str, name: str, feed: dict[str, Any]) -> None:
    """A request that TensorFlow Serving answers before any other, as a record of one PredictionLog.

    Written by hand, so that the package tensorflow-serving-api, whose protocol buffers these are, is not needed.
    Source: tensorflow_serving/apis: prediction_log.proto, predict.proto, model.proto.
    """
    import tensorflow as tf

    inputs = [
        (2, message((1, key.encode()), (2, tf.make_tensor_proto(values).SerializeToString())))
        for key, values in feed.items()
    ]
    request = message((1, message((1, name.encode()), (3, SIGNATURE.encode()))), *inputs)
    extra = os.path.join(folder, "assets.extra")
    os.makedirs(extra, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(extra, WARMUP)) as writer:
        writer.write(message((6, message((1, request)))))


def write(folder: str) -> None:
    import numpy as np
    import tensorflow as tf

    with open(os.path.join(folder, "graph.json")) as file:
        graph = json.load(file)
    with np.load(os.path.join(folder, "weights.npz")) as archive:
        weights = {graph["weights"][name]: archive[name] for name in archive.files}
    with np.load(os.path.join(folder, "example.npz")) as archive:
        feed = {graph["inputs"][int(name[1:])]["name"]: archive[name] for name in archive.files}
    module, function = module_of(graph, weights)
    target = os.path.join(folder, "model")
    tf.saved_model.save(module, target, signatures={SIGNATURE: function})
    warm(target, graph["name"], feed)


def run(model: str, inputs: str, outputs: str) -> None:
    """Answers of a SavedModel's signature."""
    import numpy as np
    import tensorflow as tf

    loaded = tf.saved_model.load(model).signatures[SIGNATURE]
    names = list(loaded.structured_input_signature[1])
    with np.load(inputs) as archive:
        made = loaded(**{name: tf.constant(archive[name]) for name in names})
    np.savez(outputs, **{name: one.numpy() for name, one in made.items()})


if __name__ == "__main__":
    try:
        write(sys.argv[2]) if sys.argv[1] == "write" else run(*sys.argv[2:5])
    except Unknown as reason:
        print(f"UNKNOWN {reason}")
        sys.exit(3)
