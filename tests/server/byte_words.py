"""A small Llama whose 256 words are the bytes, so that characters are spread over tokens; with a chat template."""

from __future__ import annotations

from pathlib import Path

from weigh.model.huggingface import quiet
from weigh.model.imports import transformers
from weigh.model.toy import random_llama

UNKNOWN, BEGIN, END = 256, 257, 258
TEMPLATE = (
    "{% if messages[0]['role'] == 'assistant' %}{{ raise_exception('a chat must begin with the user') }}{% endif %}"
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{% endfor %}[assistant]"
)


def byte_llama(folder: Path, seed: int = 0) -> Path:
    """As a Hugging Face folder: two layers, a context of 512 tokens; token i is the byte i."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    from weigh.server.language_text import _letters

    whole = Tokenizer(BPE(dict(_letters()), []))
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    whole.decoder = decoders.ByteLevel()
    whole.add_special_tokens([AddedToken(name, special=True) for name in ("<unk>", "<s>", "</s>")])
    told = transformers("PreTrainedTokenizerFast")(
        tokenizer_object=whole, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<unk>"
    )
    told.chat_template = TEMPLATE
    net = random_llama(seed, 2, vocab_size=END + 1, bos_token_id=BEGIN, eos_token_id=END, pad_token_id=UNKNOWN)
    with quiet():
        net.save_pretrained(folder, safe_serialization=True)
    told.save_pretrained(folder)
    return folder
