"""One process of a group that shares a model: answers requests until its input ends.

A request is one JSON line (names, types and shapes of the inputs), then their bytes. The first process of the group
answers with one JSON line, then the bytes of the answer; the others with an empty line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from weigh.model.memory import peak
from weigh.serve.runtime._child import source_of


def loaded(asked: dict[str, Any]) -> Any:
    """The net, its layers shared with the other processes."""
    import torch
    import torch.distributed as group
    from torch.distributed.device_mesh import init_device_mesh

    from weigh.serve.runtime._export import quiet
    from weigh.serve.runtime._net import load_net
    from weigh.serve.runtime._plan import split

    torch.set_num_threads(asked["threads"])
    store = group.FileStore(asked["store"], asked["size"])
    group.init_process_group("gloo", store=store, rank=asked["rank"], world_size=asked["size"])
    net = load_net(source_of(asked["source"]), "tensor_parallel")
    with quiet():
        split(net.module, net.module.config, init_device_mesh("cpu", (asked["size"],)))
    return net


def read_feed(stream: BinaryIO, head: list[list[Any]]) -> list[Any]:
    """The inputs of a request, as tensors."""
    import numpy as np
    import torch

    found = []
    for kind, shape in head:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        found.append(torch.from_numpy(np.frombuffer(bytearray(stream.read(size)), kind).reshape(shape)))
    return found


def serve(asked: dict[str, Any], requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more requests."""
    import torch

    net = loaded(asked)
    while line := requests.readline():
        given = read_feed(requests, json.loads(line))
        with torch.inference_mode():
            made = net(*given).float().contiguous().numpy()
        body = made.tobytes() if asked["rank"] == 0 else b""
        head = {"shape": made.shape, "bytes": len(body), "megabytes": peak()}
        answers.write(json.dumps(head).encode() + b"\n" + body)
        answers.flush()


if __name__ == "__main__":
    first = json.loads(sys.stdin.buffer.readline())
    serve({**first, "store": str(Path(first["store"]))}, sys.stdin.buffer, sys.stdout.buffer)
