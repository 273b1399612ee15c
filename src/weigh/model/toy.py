"""A small language model with a known answer: the text is what the model itself says, so that any damage costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weigh.model.huggingface import quiet
from weigh.model.imports import transformers
from weigh.model.task import ModelTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VOCABULARY, WINDOWS, LENGTH = 256, 400, 32
WORDS = ("<unk>", "<s>", "</s>", *(f"w{place}" for place in range(3, VOCABULARY)))


def write_language_toy(folder: Path, seed: int = 0, layers: int = 3, **changed: Any) -> ModelTask:
    """A Llama of random weights, 64 wide, and 400 windows of 32 tokens that were drawn from it.

    Args:
        changed: fields of its config, see `random_llama`.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = random_llama(seed, layers, **changed)
        text = drawn(net, seed)
    finally:
        torch.set_num_threads(before)
    save_llama(net, folder / "model")
    words = (" ".join(WORDS[token] for token in row) for row in text.tolist())
    (folder / "text.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return ModelTask(
        model=folder / "model", data=folder / "text.txt", calibration_rows=40, window=LENGTH, windows=2, rounds=120,
        prompt_tokens=4, new_tokens=4,
    )  # fmt: skip


def random_llama(seed: int = 0, layers: int = 3, **changed: Any) -> Any:
    """A Llama with weights large enough that it prefers some tokens to others by far."""
    import torch

    config, maker = transformers("LlamaConfig"), transformers("LlamaForCausalLM")

    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = maker(config(**(sizes | changed)))
        for name, weight in net.named_parameters():
            if weight.dim() == 2:
                torch.nn.init.normal_(weight, 0.0, (6.0 if "lm_head" in name else 1.0) / weight.shape[1] ** 0.5)
    return net.eval().requires_grad_(False)


def drawn(net: Any, seed: int, count: int = WINDOWS, length: int = LENGTH) -> NDArray[np.int64]:
    """Windows of tokens drawn from the model's own distribution, shape (count, length)."""
    import torch

    source = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (count, 1), generator=source)
    with torch.inference_mode():
        cache, step = None, ids
        for _ in range(length - 1):
            out = net(input_ids=step, past_key_values=cache, use_cache=True)
            step = torch.multinomial(out.logits[:, -1].softmax(-1), 1, generator=source)
            ids, cache = torch.cat([ids, step], 1), out.past_key_values
    return ids.numpy()


def save_llama(net: Any, folder: Path) -> Path:
    """As a Hugging Face folder, with a tokenizer of 256 words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    whole = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token=WORDS[0]))
    whole.pre_tokenizer = WhitespaceSplit()
    told = transformers("PreTrainedTokenizerFast")(
        tokenizer_object=whole, unk_token=WORDS[0], bos_token=WORDS[1], eos_token=WORDS[2], pad_token=WORDS[0]
    )
    with quiet():
        net.save_pretrained(folder, safe_serialization=True)
    told.save_pretrained(folder)
    return folder
