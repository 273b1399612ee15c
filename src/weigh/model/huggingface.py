"""Hugging Face folders: checked, loaded and written again; never over a network, and no code of theirs is run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.choice import UsageError
from weigh.model import packed
from weigh.model.artefact import NAME
from weigh.model.imports import hushed, transformers
from weigh.model.source import Kind, Port, Source, not_numbers, reason

if TYPE_CHECKING:
    import torch

COMPUTE = "weigh.json"
"""Says in which numbers an artefact computes; a folder without it computes in float32, whatever it is stored in."""
MOST = 64_000_000
"""Bytes up to which a file beside the weights is copied with them: tokenizers of large vocabularies take 35 million."""
WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".data", ".gguf", ".pkl",
    ".index.json",
)  # fmt: skip


def describe(folder: Path) -> Source:
    """Check the folder and say what it is.

    Raises:
        UsageError: no config, weights that are pickled, cut off, missing or no numbers, or a tokenizer that has more
            tokens than the model.
    """
    config = read_json(folder / "config.json")
    files = weight_files(folder)
    for file in files:
        check_weights(file)
    kind, output = kind_of(config, folder)
    _need_fitting_tokenizer(folder, config)
    ports = (Port("input_ids", "tensor(int64)", (None, None)), Port("attention_mask", "tensor(int64)", (None, None)))
    return Source(folder, "huggingface", kind, digest_of(folder), inputs=ports, outputs=(output,))


def kind_of(config: Mapping[str, Any], folder: Path) -> tuple[Kind, Port]:
    """What comes out of a model, by the architecture that its config names."""
    names = config.get("architectures") or [""]
    name = str(names[0])
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "language", Port("logits", "tensor(float)", (None, None, config.get("vocab_size")))
    if name.endswith("ForSequenceClassification"):
        return "encoder", Port("scores", "tensor(float)", (None, len(config.get("id2label") or {}) or None))
    if name.endswith("Model"):
        return "encoder", Port("embedding", "tensor(float)", (None, config.get("hidden_size")))
    raise UsageError(
        f"model={folder} is a {name or 'model of unnamed architecture'}; weigh takes language models (...ForCausalLM), "
        "encoders (...Model) and classifiers of texts (...ForSequenceClassification)"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UsageError: there is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}; copy the model's folder again") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object; copy the model's folder again")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder.

    Raises:
        UsageError: there are none, or not all that the index names.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = sorted({folder / name for name in read_json(index).get("weight_map", {}).values()})
        if lost := [file.name for file in files if not file.is_file()]:
            raise UsageError(f"model={folder} lacks {', '.join(lost)}, which its index names; copy it again")
        return files
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickled = sorted(file.name for file in (*folder.glob("*.bin"), *folder.glob("*.pt")))
    if pickled:
        raise UsageError(
            f"model={folder} keeps its weights in a pickle ({pickled[0]}), which can run any code and is not opened; "
            "write it again on a machine that trusts it: AutoModel.from_pretrained(...).save_pretrained('safe')"
        )
    raise UsageError(f"model={folder} has a config.json but no *.safetensors; copy the weights into it")


def check_weights(file: Path) -> None:
    """Raises `UsageError` when a safetensors file is cut off or damaged, or holds a value that is no number."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as archive:
            for name in archive.keys():  # noqa: SIM118 (it is no mapping)
                tensor = archive.get_tensor(name)
                if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float().sum())):
                    _need_finite(file, name, tensor)
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"model={file} is cut off or damaged ({reason(error)}): it has {file.stat().st_size:,} bytes; copy it again"
        ) from None


def _need_finite(file: Path, name: str, tensor: torch.Tensor) -> None:
    import torch

    bad = int((~torch.isfinite(tensor.float())).sum())
    if bad:
        raise UsageError(not_numbers(file, name, bad, tensor.numel()))


def _need_fitting_tokenizer(folder: Path, config: Mapping[str, Any]) -> None:
    size, file = config.get("vocab_size"), folder / "tokenizer.json"
    if not file.is_file() or not isinstance(size, int):
        return
    found = read_json(file)
    vocabulary = found.get("model", {}).get("vocab") or {}
    ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else list(range(len(vocabulary)))
    ids += [token["id"] for token in found.get("added_tokens", ())]
    if ids and max(ids) >= size:
        raise UsageError(
            f"the tokenizer in {folder} has token {max(ids)}, but the model knows {size} tokens (0 to {size - 1}); "
            "copy the tokenizer that belongs to it, or resize the embeddings"
        )


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that make the model, in hexadecimal digits."""
    whole = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with file.open("rb") as stream:
            whole.update(f"{file.relative_to(folder).as_posix()}\0".encode())
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def load(folder: Path, kind: Kind, dtype: str = "", attention: str = "sdpa") -> Any:
    """The net, ready for inference; `dtype` empty: as its artefact says, float32 if it says nothing.

    Raises:
        UsageError: transformers cannot load it.
    """
    import torch

    config, maker = read_json(folder / "config.json"), maker_of(folder, kind)
    number = "auto" if "quantization_config" in config else getattr(torch, dtype or computed_in(folder))
    try:
        with quiet():
            if packed.is_packed(config):
                net = packed.load(folder, maker, config, attention, dtype or computed_in(folder))
                return net.eval().requires_grad_(False)
            net = maker.from_pretrained(
                folder, dtype=number, local_files_only=True, trust_remote_code=False, use_safetensors=True,
                attn_implementation=attention,
            )  # fmt: skip
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        raise UsageError(f"model={folder} cannot be loaded by transformers: {reason(error)}") from None
    return net.eval().requires_grad_(False)


def maker_of(folder: Path, kind: Kind) -> Any:
    """The class of transformers that loads a folder."""
    if kind == "language":
        return transformers("AutoModelForCausalLM")
    name = str((read_json(folder / "config.json").get("architectures") or [""])[0])
    of_texts = name.endswith("ForSequenceClassification")
    return transformers("AutoModelForSequenceClassification" if of_texts else "AutoModel")


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers, which would run through weigh's own progress, and hushed."""
    from transformers.utils import logging as talk

    shown = talk.is_progress_bar_enabled()
    talk.disable_progress_bar()
    try:
        with hushed():
            yield
    finally:
        if shown:
            talk.enable_progress_bar()


def computed_in(folder: Path) -> str:
    """The numbers that an artefact computes in."""
    mark = folder / COMPUTE
    return str(read_json(mark).get("compute", "float32")) if mark.is_file() else "float32"


def tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        UsageError: it has none.
    """
    try:
        with hushed():
            return transformers("AutoTokenizer").from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(
            f"model={folder} has no tokenizer that can be read ({reason(error)}); copy tokenizer.json and "
            "tokenizer_config.json into it"
        ) from None


def save(net: Any, source: Path, folder: Path, compute: str = "") -> Path:
    """Write a net as a Hugging Face folder, with the tokenizer and chat template of `source`.

    Args:
        compute: the numbers that it is to be computed in; those of its weights when empty.
    """
    import torch

    with quiet():
        net.save_pretrained(folder, safe_serialization=True)
    companions(source, folder)
    numbers = compute or str(next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32))[6:]
    (folder / COMPUTE).write_text(json.dumps({"compute": numbers}))
    return folder


def companions(source: Path, folder: Path) -> None:
    """Copy what belongs to a model beside its weights: every small file (tokenizer, chat template, licence, how a
    sentence vector is made), and the folders of the modules that come after the net. Its card is another's.
    """
    for file in source.iterdir():
        left = file.name in ("README.md", COMPUTE, NAME) or file.name.startswith(".") or file.name.endswith(WEIGHTS)
        if file.is_file() and not left and file.stat().st_size <= MOST and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    for module in source.glob("[0-9]_*"):
        if module.is_dir():
            shutil.copytree(module, folder / module.name, dirs_exist_ok=True)
