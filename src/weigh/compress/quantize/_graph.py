"""Graphs: their weights before and after, and the steps that options share."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import Field

from weigh.choice import Unfit, UsageError
from weigh.model.onnx_file import operators
from weigh.model.source import Source
from weigh.model.task import Calibration

if TYPE_CHECKING:
    import onnx

QUANTIZABLE = "Conv, Gemm and MatMul"
HINT = (
    "Trees and linear models of ai.onnx.ml keep their numbers where no option of this choice reaches: train fewer or "
    "shallower trees, or on fewer features"
)
GIVE_FLOATS = (
    "FeatureVectorizer", "LinearRegressor", "Normalizer", "OneHotEncoder", "Scaler", "SVMRegressor",
    "TreeEnsembleRegressor",
)  # fmt: skip
OPSET = 13
REDUCE_RANGE: bool = Field(
    True,
    description="of ONNX files and nets, weights of 7 bits: on x86 CPUs without VNNI, sums of two 8-bit products "
    "saturate, which can cost more than the bit; false suits CPUs with VNNI and ARM",
)


@contextmanager
def graph_of(source: Source, name: str) -> Iterator[Path]:
    """The file of an ONNX model; of a net for torch, one that is exported and gone afterwards.

    Raises:
        Unfit: it is neither, or it cannot be exported.
    """
    if source.format == "onnx":
        yield source.path
        return
    if source.format not in ("module", "exported"):
        raise Unfit(f"{name} rewrites ONNX graphs, and this model is {source.format}: give the ONNX file of it")
    from weigh.model.forms import written

    with TemporaryDirectory() as folder:
        try:
            made = written(source, "onnx", Path(folder), name)
        except UsageError as error:
            raise Unfit(f"{name} quantizes the ONNX graph of a net, and this one has none: {error}") from None
        yield made


def weights(model: onnx.ModelProto, kinds: tuple[str, ...], dims: int) -> int:
    """How many numbers of these types the constant tensors of at least `dims` dimensions hold."""
    from onnx import TensorProto, helper

    wanted = {TensorProto.DataType.Value(kind) for kind in kinds}
    constants = [
        helper.get_attribute_value(attribute)
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    tensors = [t for t in [*model.graph.initializer, *constants] if t.data_type in wanted and len(t.dims) >= dims]
    return sum(math.prod(tensor.dims) for tensor in tensors)


def need_quantized(path: Path) -> Path:
    """The path, once it is sure that some weights in the file are integers of 8 bits; `Unfit` where none are."""
    import onnx

    model = onnx.load(path)
    if not weights(model, ("INT8", "UINT8"), dims=2):
        raise _nothing(model)
    return path


def _nothing(model: onnx.ModelProto) -> Unfit:
    return Unfit(
        f"nothing to quantize: int8 serves the constant float32 weights of {QUANTIZABLE}, and this graph has "
        f"{operators(model.graph)}. {HINT}"
    )


def typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types stated that onnx does not infer; without them, tools guess and write broken graphs."""
    from onnx import TensorProto, helper, shape_inference

    known = {value.name for value in shape_inference.infer_shapes(model).graph.value_info}
    known |= {value.name for value in model.graph.output}
    for node in model.graph.node:
        if node.domain == "ai.onnx.ml" and node.op_type in GIVE_FLOATS:
            for name in node.output:
                if name not in known:
                    model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return model


def prepared(model: Path, folder: Path) -> Path:
    """The model with shapes inferred, constants folded and MatMul + Add made Gemm, as the quantizer wants it.

    Raises:
        Unfit: there is no weight that could be quantized.
    """
    import onnx
    from onnxruntime.quantization import quant_pre_process

    original = onnx.load(model)
    if not weights(original, ("FLOAT",), dims=2):
        raise _nothing(original)
    ready, stated = folder / "prepared.onnx", folder / "stated.onnx"
    onnx.save(typed(original), stated)
    with quiet():
        quant_pre_process(stated, ready, skip_symbolic_shape=True)
    stated.unlink()
    onnx.save(_flat_biases(raised(onnx.load(ready))), ready)
    return ready


def raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset that can have one scale a channel, and casts of bfloat16.

    Raises:
        Unfit: its opset is older, and one of its operators cannot be brought to the new one.
    """
    from onnx import version_converter

    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if opset >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["unknown reason"])[0]
        raise Unfit(f"it needs opset {OPSET}, and this model of opset {opset} cannot be raised: {reason}") from None


def _flat_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """Biases of Gemm from (1, n) to (n,), which means the same; the per-channel quantizer knows only the second."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    users = [(node.op_type, place, name) for node in model.graph.node for place, name in enumerate(node.input)]
    for kind, place, name in users:
        alone = sum(other == name for _, _, other in users) == 1
        if kind == "Gemm" and place == 2 and alone and name in tensors and list(tensors[name].dims)[:-1] == [1]:
            del tensors[name].dims[0]
    return model


def packed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with each weight in as many bytes as its type has; the float16 tool leaves up to three for two."""
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return model


@dataclass(frozen=True, slots=True)
class Form:
    """The numbers that static int8 is written in."""

    per_channel: bool
    reduce_range: bool
    activations: str


def static(
    model: Path, calibration: Calibration, folder: Path, form: Form, ranges: Mapping[str, tuple[Any, Any]] | None = None
) -> Path:
    """Static int8 in QDQ form, of a prepared model; `ranges` of activations in place of their least and greatest."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    overrides = {name: [{"rmin": low, "rmax": high}] for name, (low, high) in (ranges or {}).items()}
    made = folder / "model.onnx"
    with quiet():
        quantize_static(
            model,
            made,
            reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=form.per_channel,
            reduce_range=form.reduce_range,
            activation_type=QuantType.QUInt8 if form.activations == "uint8" else QuantType.QInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": overrides},
        )
    model.unlink()
    return need_quantized(made)


def reader(calibration: Calibration) -> object:
    """Calibration rows as ONNX Runtime's calibrators read them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = calibration.batches()

        def get_next(self) -> object:
            return next(self._batches, None)

    return Reader()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the advice and the progress that ONNX Runtime's tools print."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
