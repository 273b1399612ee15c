"""The forms in which a model is handed on: safetensors, ONNX and GGUF, each made of what was measured."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from weigh.choice import Unfit, UsageError
from weigh.model.packed import METHOD
from weigh.model.source import Source, embeds, format_of, reason

if TYPE_CHECKING:
    import torch

    from weigh.model.gguf_write import Numbers

Form: TypeAlias = Literal["safetensors", "onnx", "gguf"]
FORMS: tuple[str, ...] = get_args(Form)
OWN: dict[str, str] = {"huggingface": "safetensors", "module": "safetensors", "onnx": "onnx", "gguf": "gguf"}
ONE_FILE = 1_900_000_000
"""Bytes of weights up to which an ONNX file holds its own; beyond, protobuf wants them beside it."""
LIBRARIES = {
    "bitsandbytes": "bitsandbytes", "torchao": "torchao", "quanto": "optimum-quanto", "gptq": "gptqmodel",
    "awq": "gptqmodel", "hqq": "hqq",
}  # fmt: skip
"""What transformers needs beside itself to load a quantized folder, by the method that its config names."""


def need_form(source: Source, form: str, name: str) -> None:
    """Raises `UsageError` when a model cannot be handed on in a form; the text says what to type.

    Args:
        source: the artefact, opened.
        name: the option that made it, for the text.
    """
    if form == OWN.get(source.format, ""):
        return
    as_is = "leave --as out to take it as it was measured"
    if source.format in ("onnx", "gguf"):
        raise UsageError(f"{name} made an {source.format.upper()} file, which is not turned into {form}; {as_is}")
    if form == "safetensors":
        raise UsageError(f"{name} made a torch.export archive, whose code safetensors cannot hold; {as_is}")
    if method := quantized_by(source.path):
        raise UsageError(_packed(name, method, form))
    if form == "gguf" and (source.format != "huggingface" or source.kind != "language"):
        what = f"no language model ({source.kind})" if source.format == "huggingface" else "a net of your own"
        raise UsageError(f"GGUF holds language models, and this is {what}; type --as onnx, or {as_is}")


def need_form_early(path: Path, form: str, name: str, packs: str) -> None:
    """What `need_form` refuses, where the original alone says so: nothing heavy is imported and no weight is read.

    Args:
        path: of the original.
        name: the option that was chosen.
        packs: the method by which it packs the weights of a Hugging Face folder; empty where it does not.
    """
    from weigh.model import huggingface

    kept = format_of(path)
    if kept == "huggingface":
        if packs and form in ("onnx", "gguf"):
            raise UsageError(_packed(name, packs, form))
        kind = huggingface.kind_of(huggingface.read_json(path / "config.json"), path)[0]
        need_form(Source(path, kept, kind, ""), form, name)
    elif (kept, form) in (("onnx", "safetensors"), ("onnx", "gguf"), ("exported", "safetensors"), ("exported", "gguf"),
                          ("module", "gguf")):  # fmt: skip
        need_form(Source(path, kept, "classifier", ""), form, name)


def _packed(name: str, method: str, form: str) -> str:
    return (
        f"{name} keeps its weights as {method} does, which {form} cannot hold; leave --as out to take it as it was "
        f"measured, or decide again among options that {form} holds: --option bfloat16 --option float16"
    )


def quantized_by(folder: Path) -> str:
    """The method that a Hugging Face folder names in its config; empty where it is not quantized, or no folder."""
    from weigh.model.huggingface import read_json

    if not (folder / "config.json").is_file():
        return ""
    return str((read_json(folder / "config.json").get("quantization_config") or {}).get("quant_method") or "")


def written(source: Source, form: str, folder: Path, name: str) -> Path:
    """Write an artefact in another form.

    Args:
        source: the artefact, opened; of a net of the user's own its input says what a row is.
        folder: where to write; it exists and is empty.

    Returns: the file, in `folder`. An ONNX file of a Hugging Face model has its tokenizer and config beside it.

    Raises:
        UsageError: it cannot be written so, as for `need_form`; or it uses what the form has no operator for.
    """
    need_form(source, form, name)
    return _gguf(source, folder, name) if form == "gguf" else _onnx(source, folder)


def _gguf(source: Source, folder: Path, name: str) -> Path:
    from weigh.model.gguf_write import write_gguf

    try:
        return write_gguf(source, folder / "model.gguf", _kept(source.path))
    except Unfit as error:
        raise UsageError(
            f"what {name} made cannot be written as GGUF: {error}; type --as onnx, or leave --as out"
        ) from None


def _kept(folder: Path) -> Numbers:
    """The numbers of GGUF that hold a folder's weights without rounding."""
    from safetensors import safe_open

    from weigh.model.huggingface import weight_files

    found = set()
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as archive:
            found |= {archive.get_slice(key).get_dtype() for key in archive.keys()}  # noqa: SIM118 (it is no mapping)
    return "BF16" if found == {"BF16"} else "F16" if found == {"F16"} else "F32"


def _onnx(source: Source, folder: Path) -> Path:
    import torch

    target = folder / "model.onnx"
    try:
        with _quiet():
            what, inputs, names, outputs, free = _exportable(source)
            torch.onnx.export(
                what, inputs, target, input_names=names, output_names=outputs, dynamic_shapes=free, dynamo=True,
                external_data=_bytes(what) > ONE_FILE, verbose=False,
            )  # fmt: skip
    except (UsageError, Unfit):
        raise
    except Exception as error:  # torch's exporter raises errors of many kinds
        raise UsageError(
            f"the model cannot be written as ONNX ({type(error).__name__}: {_operator(error)}); leave --as out to take "
            "it as it was measured"
        ) from None
    if source.format == "huggingface":
        from weigh.model.huggingface import companions

        companions(source.path, folder)
        shutil.copyfile(source.path / "config.json", folder / "config.json")
    return target


def _exportable(source: Source) -> tuple[Any, tuple[torch.Tensor, ...], list[str], list[str], Any]:
    """What to export: the module, example inputs, names of inputs and outputs, and which dimensions are free."""
    import torch

    from weigh.model.module import load_module
    from weigh.model.net import example_rows

    if source.format != "huggingface":
        net = load_module(source, "" if source.format == "exported" else "float32")
        free = () if source.batch is not None else ({0: torch.export.Dim("rows", min=1)},)
        return net, (example_rows(net, source),), ["X"], ["scores"], free or None
    ids = torch.arange(14, dtype=torch.int64).reshape(2, 7)
    sizes = tuple({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for _ in range(2))
    outputs = "sentence_embedding" if embeds(source) else "logits"
    net = of_tokens(load_module(source, "float32"), source)
    return net, (ids, torch.ones_like(ids)), ["input_ids", "attention_mask"], [outputs], sizes


def of_tokens(net: Any, source: Source) -> Any:
    """A Hugging Face model as a module of tokens and their mask alone: to scores, or to vectors as weigh pools them."""
    import torch

    from weigh.model.runner import pooled

    vectors, rest = embeds(source), {"use_cache": False} if source.kind == "language" else {}

    class OfTokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            out = self.net(input_ids=input_ids, attention_mask=attention_mask, **rest)
            return pooled(out.last_hidden_state, attention_mask) if vectors else out.logits

    return OfTokens().eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says about its own code, and about torchvision, which is not needed."""
    talker = logging.getLogger("torch.onnx")
    before = talker.level
    talker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        talker.setLevel(before)


def _bytes(module: Any) -> int:
    return sum(one.numel() * one.element_size() for one in (*module.parameters(), *module.buffers()))


def _operator(error: BaseException) -> str:
    """What torch's exporter could not do: its last cause says it, the first only that it failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return reason(error)


def loading(now: Path, to: Path, kind: str, architecture: str = "") -> tuple[str, tuple[str, ...]]:
    """Python that loads a model as it was written and uses it once, and the packages that it takes.

    Args:
        now: the folder, or the file, as it lies now; of an ONNX file of a Hugging Face model, its config beside it.
        to: where it will lie, by which the code names it.
        kind: language, encoder or classifier.
        architecture: of weights alone, what builds their net.
    """
    where = to.as_posix()
    if now.suffix == ".onnx":
        return _session(now, to, kind)
    if now.suffix == ".gguf":
        return GGUF.format(where=where), ("xllamacpp (or any other llama.cpp: llama-cli -m FILE)",)
    if now.suffix == ".pt2":
        return f'import torch\n\nnet = torch.export.load("{where}").module()', ("torch",)
    if now.suffix == ".safetensors":
        file, _, build = architecture.rpartition(":")
        code = (
            f"from safetensors.torch import load_file\n\nfrom {Path(file).stem} import {build}  # {file}\n\n"
            f'net = {build}()\nnet.load_state_dict(load_file("{where}"))\nnet.eval()'
        )
        return code, ("safetensors", "torch")
    return _transformers(now, where, kind)


GGUF = """import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = "{where}"
server = xllamacpp.Server(params)
told = server.handle_completions({{"prompt": "Once upon a time", "n_predict": 20, "temperature": 0}})
print(told["choices"][0]["text"])"""
VECTOR = """
import torch

batch = tokenizer(["A sentence."], return_tensors="pt", padding=True, truncation=True)
with torch.inference_mode():
    hidden, mask = model(**batch).last_hidden_state.float(), batch["attention_mask"].unsqueeze(-1)
vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
print(vectors[0])"""
"""A sentence vector as weigh judges it (`weigh.model.runner.pooled`)."""
FEED = """
batch = tokenizer(["{text}"], return_tensors="np")
feed = {{"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}}
({name},) = session.run(None, feed)
print({shown})"""


def _session(now: Path, to: Path, kind: str) -> tuple[str, tuple[str, ...]]:
    session = f'session = onnxruntime.InferenceSession("{to.as_posix()}")'
    if not (now.parent / "config.json").is_file():
        ports = "print([(one.name, one.type, one.shape) for one in session.get_inputs()])"
        return f"import onnxruntime\n\n{session}\n{ports}", ("onnxruntime",)
    tokens = f'tokenizer = AutoTokenizer.from_pretrained("{to.parent.as_posix()}")'
    text, name, shown = "A sentence.", "vectors", "vectors[0]"
    if kind == "language":
        text, name, shown = "Once upon a time", "logits", "tokenizer.decode(logits[0, -1].argmax())"
    elif _named(now.parent).endswith("ForSequenceClassification"):
        name, shown = "scores", "scores[0]"
    code = f"import onnxruntime\nfrom transformers import AutoTokenizer\n\n{session}\n{tokens}"
    return code + FEED.format(text=text, name=name, shown=shown), ("onnxruntime", "transformers")


def _named(folder: Path) -> str:
    """The architecture that a Hugging Face folder names."""
    from weigh.model.huggingface import architecture_of, read_json

    return architecture_of(read_json(folder / "config.json"), folder)


def _transformers(now: Path, where: str, kind: str) -> tuple[str, tuple[str, ...]]:
    from weigh.model.huggingface import computed_in

    auto = "AutoModelForCausalLM" if kind == "language" else "AutoModel"
    if _named(now).endswith("ForSequenceClassification"):
        auto = "AutoModelForSequenceClassification"
    vector = VECTOR if auto == "AutoModel" else ""
    method = quantized_by(now)
    if method == METHOD:  # others read such a folder only where its embedding is not packed
        code = (
            "from pathlib import Path\n\nfrom weigh.model.module import load_module, load_tokenizer\n"
            f'from weigh.model.source import open_source\n\nsource = open_source(Path("{where}"))\n'
            "model, tokenizer = load_module(source), load_tokenizer(source)"
        )
        return code + vector, ("weigh", "torch", "transformers")
    numbers = "auto" if method else computed_in(now)
    code = (
        f"from transformers import {auto}, AutoTokenizer\n\n"
        f'model = {auto}.from_pretrained("{where}", dtype="{numbers}")\n'
        f'tokenizer = AutoTokenizer.from_pretrained("{where}")'
    )
    return code + vector, ("torch", "transformers", *([LIBRARIES.get(method, method)] if method else []))
