"""Hugging Face folders: checked, loaded and written again; never over a network, and no code of theirs is run."""

from __future__ import annotations

import hashlib
import json
import re
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
NUMBERS = ("float32", "float16", "bfloat16", "float64")
BUFFERS = re.compile(r"(position_ids|token_type_ids|inv_freq|masked_bias|attn\.bias|attention\.bias)$")
"""What older folders keep, or newer ones leave out, though it is no weight: it follows from the config."""
LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.\d+\.")
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
    check_quantization(config, folder)
    computed_in(folder)
    ports = (Port("input_ids", "tensor(int64)", (None, None)), Port("attention_mask", "tensor(int64)", (None, None)))
    return Source(folder, "huggingface", kind, digest_of(folder), inputs=ports, outputs=(output,))


def kind_of(config: Mapping[str, Any], folder: Path) -> tuple[Kind, Port]:
    """What comes out of a model, by the architecture that its config names."""
    name = architecture_of(config, folder)
    for size in ("vocab_size", "hidden_size"):
        if not isinstance(config.get(size, 1), int | None):
            raise UsageError(f"{folder / 'config.json'} has {size} {config[size]!r}, which is no whole number; copy "
                             "the model's folder again")  # fmt: skip
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "language", Port("logits", "tensor(float)", (None, None, config.get("vocab_size")))
    if name.endswith("ForSequenceClassification"):
        labels = config.get("id2label")
        return "encoder", Port("scores", "tensor(float)", (None, len(labels) if isinstance(labels, dict) else None))
    if name.endswith("Model"):
        return "encoder", Port("embedding", "tensor(float)", (None, config.get("hidden_size")))
    raise UsageError(
        f"model={folder} is a {name or 'model of unnamed architecture'}; weigh takes language models (...ForCausalLM), "
        "encoders (...Model) and classifiers of texts (...ForSequenceClassification)"
    )


def architecture_of(config: Mapping[str, Any], folder: Path) -> str:
    """The first architecture that a config names; empty where it names none.

    Raises:
        UsageError: they are no list of names.
    """
    names = config.get("architectures") or [""]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f"{folder / 'config.json'} has architectures {names!r}, where a list of names belongs, such as "
            '["LlamaForCausalLM"]; copy the model\'s folder again'
        )
    return str(names[0])


def check_quantization(config: Mapping[str, Any], folder: Path) -> None:
    """Raises `UsageError` for weights that are quantized in a way that transformers does not know.

    It would skip a way that it does not know, and take packed numbers for weights.
    """
    said = config.get("quantization_config")
    if said is None:
        return
    from transformers.quantizers.auto import AutoHfQuantizer

    try:
        with quiet():
            known = isinstance(said, dict) and AutoHfQuantizer.supports_quant_method(said)
    except (ValueError, TypeError):  # it names no method
        known = False
    if not known:
        method = said.get("quant_method") if isinstance(said, dict) else said
        raise UsageError(
            f"model={folder} says that its weights are quantized by {method!r} (quantization_config in config.json), "
            "which transformers does not know; give the model from before it was quantized, or take the entry out if "
            "its weights are whole"
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
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places or not all(_inside(name) for name in places.values()):
            raise UsageError(f"{index} does not say which file of the folder holds which weight; copy it again")
        files = sorted({folder / name for name in places.values()})
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


def _inside(name: object) -> bool:
    return isinstance(name, str) and bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts


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
    try:
        vocabulary = found.get("model", {}).get("vocab") or {}
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else list(range(len(vocabulary)))
        ids += [token["id"] for token in found.get("added_tokens") or ()]
        strange = [one for one in ids if not isinstance(one, int)]
    except (AttributeError, KeyError, TypeError):
        strange = [None]
    if strange:
        raise UsageError(f"{file} is no tokenizer that can be read: its vocabulary or its added tokens have no ids; "
                         "copy the model's folder again")  # fmt: skip
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
    check_quantization(config, folder)
    number = "auto" if config.get("quantization_config") else getattr(torch, dtype or computed_in(folder))
    try:
        with quiet():
            if packed.is_packed(config):
                net, told = packed.load(folder, maker, config, attention, dtype or computed_in(folder))
            else:
                net, told = maker.from_pretrained(
                    folder, dtype=number, local_files_only=True, trust_remote_code=False, use_safetensors=True,
                    attn_implementation=attention, output_loading_info=True,
                )  # fmt: skip
    except UsageError:
        raise
    except ImportError as error:
        raise UsageError(f"model={folder} cannot be loaded by transformers: {reason(error)}") from None
    except Exception as error:  # a config that contradicts itself raises errors of many kinds
        raise UsageError(
            f"model={folder} cannot be loaded by transformers: {type(error).__name__}: {reason(error)}; copy the "
            "model's folder again"
        ) from None
    need_whole(folder, net, told, bool(config.get("quantization_config")))
    return net.eval().requires_grad_(False)


def need_whole(folder: Path, net: Any, told: Mapping[str, Any], quantized: bool) -> None:
    """Raises `UsageError` when a net has weights that its files lack, which transformers draws at random, or its files
    hold layers that it does not have.

    Args:
        told: what `from_pretrained` says of loading it (`output_loading_info`).
        quantized: its layers may be kept with scales that are no weights of the net.
    """
    encoder = type(net).__name__.endswith("Model")
    lost = [name for name in sorted(told["missing_keys"]) if not BUFFERS.search(name)]
    if encoder:  # of a sentence encoder its vectors are read, which do not go through a pooler
        lost = [name for name in lost if "pooler." not in f".{name}"]
    lost += sorted(str(one[0] if isinstance(one, tuple) else one) for one in told["mismatched_keys"])
    if lost:
        raise UsageError(
            f"model={folder} lacks {len(lost)} of the weights that its config.json calls for ({_some(lost)}): they "
            "would be random numbers; copy the weights again, or the config.json that belongs to them"
        )
    own = [name for name, _ in (*net.named_parameters(), *net.named_buffers())]
    layers = {found[0] for name in own if (found := LAYER.search(name))}
    extra = [name for name in sorted(told["unexpected_keys"]) if (found := LAYER.search(name)) is not None
             and not BUFFERS.search(name) and not (quantized and found[0] in layers)]  # fmt: skip
    if extra:
        raise UsageError(
            f"model={folder} holds {len(extra)} weights in layers that its config.json does not call for "
            f"({_some(extra)}): they would be left out; copy the config.json that belongs to the weights"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def maker_of(folder: Path, kind: Kind) -> Any:
    """The class of transformers that loads a folder."""
    if kind == "language":
        return transformers("AutoModelForCausalLM")
    name = architecture_of(read_json(folder / "config.json"), folder)
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
    """The numbers that an artefact computes in.

    Raises:
        UsageError: its mark names none.
    """
    mark = folder / COMPUTE
    numbers = read_json(mark).get("compute", "float32") if mark.is_file() else "float32"
    if numbers not in NUMBERS:
        raise UsageError(f"{mark} says compute {numbers!r}; it is one of {', '.join(NUMBERS)}: copy the folder again")
    return str(numbers)


def tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        UsageError: it has none.
    """
    try:
        with hushed():
            return transformers("AutoTokenizer").from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged tokenizer raises errors of many kinds, bare Exception among them
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
