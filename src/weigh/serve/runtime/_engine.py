"""TensorRT-RTX: from an ONNX file to an engine, and an engine that serves."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from weigh.choice import Unfit
from weigh.serve.runtime import Served, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from weigh.model.source import Source

LIBRARIES, BINDINGS = "onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_bindings"
INSTALL = "pip install --no-deps onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0 tensorrt-rtx-cu13-bindings==1.7.1.116"
ORDER = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")


def bindings() -> Any:
    """TensorRT-RTX's Python module, its libraries loaded out of the package that brings them.

    Raises:
        Unfit: it is not installed.
    """
    found = importlib.util.find_spec(LIBRARIES)
    if found is None or found.origin is None or importlib.util.find_spec(BINDINGS) is None:
        raise Unfit(f"TensorRT-RTX is not installed: {INSTALL}")
    for pattern in ORDER:
        for file in sorted(Path(found.origin).parent.glob(pattern))[-1:]:
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module(BINDINGS)


def build(graph: Path, target: Path, most: Mapping[str, tuple[int, ...]], capability: str) -> Path:
    """Parse an ONNX file and write the engine; no GPU takes part in it.

    Args:
        most: input name -> its greatest shape; where the file leaves a dimension free the engine takes 1 up to it.
        capability: of the GPU that will run it, such as SM86.

    Raises:
        Unfit: the parser rejects a node, which the text names; or nothing can be built for such a GPU.
    """
    trt = bindings()
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse_from_file(str(graph)):
        raise Unfit(rejected([parser.get_error(place) for place in range(parser.num_errors)]))
    if not hasattr(trt.ComputeCapability, capability):
        known = ", ".join(name for name in dir(trt.ComputeCapability) if name.startswith("SM"))
        raise Unfit(f"TensorRT-RTX builds nothing for {capability}; type capability=... with one of {known}")
    made = builder.build_serialized_network(network, _config(trt, builder, network, most, capability))
    if made is None:
        raise Unfit("TensorRT-RTX parsed the graph and cannot build an engine of it; leave this option out")
    target.write_bytes(bytes(made))
    return target


def rejected(errors: list[Any]) -> str:
    """Which nodes the parser does not know, and what to do."""
    nodes = "; ".join(f"{one.node_operator() or 'a node'} '{one.node_name()}': {one.desc()}" for one in errors[:3])
    return f"TensorRT-RTX rejects the graph ({nodes[:400]}): write it with other operators, or leave this option out"


def _config(trt: Any, builder: Any, network: Any, most: Mapping[str, tuple[int, ...]], capability: str) -> Any:
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for place in range(network.num_inputs):
        port = network.get_input(place)
        free = [size < 0 for size in port.shape]
        least = tuple(1 if is_free else size for is_free, size in zip(free, port.shape))
        greatest = tuple(limit if is_free else size for is_free, size, limit in zip(free, port.shape, most[port.name]))
        profile.set_shape(port.name, least, greatest, greatest)
    config.add_optimization_profile(profile)
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 is meant: serve/precision is about other numbers
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    return config


@final
class Engine(Served):
    """An engine on the GPU; inputs travel there and answers back, which is part of a run."""

    def __init__(self, path: Path, source: Source, setting: Setting) -> None:
        trt = bindings()
        self._logger = trt.Logger(trt.Logger.ERROR)
        engine = trt.Runtime(self._logger).deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise Unfit("the engine was built for another GPU or another version of TensorRT-RTX: build it here")
        self._engine, self._context = engine, engine.create_execution_context()
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        wanted = source.outputs[0].name if source.format == "onnx" else "answer"
        self._outputs = [name for name in names if name not in self._inputs]
        self._wanted = wanted

    def answer(self, feed: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        import torch

        stream = torch.cuda.current_stream()
        given = {name: torch.from_numpy(feed[name].copy()).cuda() for name in self._inputs}
        for name, tensor in given.items():
            self._context.set_input_shape(name, tuple(tensor.shape))
            self._context.set_tensor_address(name, tensor.data_ptr())
        made = {name: torch.empty(tuple(self._context.get_tensor_shape(name)), device="cuda") for name in self._outputs}
        for name, tensor in made.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError("TensorRT-RTX could not run the engine")
        found: NDArray[np.float32] = made[self._wanted].reshape(len(made[self._wanted]), -1).cpu().numpy()
        return found
