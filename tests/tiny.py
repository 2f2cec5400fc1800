"""Tiny random models with a word tokenizer: a second to make, no network, real architectures.

Residual streams are random but not degenerate: weights are drawn wider than the default, so that
attention looks back and left padding would show if it leaked.
"""

import re
import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from creativity_lens.models.batching import left_pad
from creativity_lens.models.protocol import read, resid_post
from creativity_lens.prompts.data import data_path

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
N_LAYERS, D_MODEL, N_CTX, VOCABULARY = 3, 32, 320, 2000
LEGACY = version("transformer-lens").startswith("3.")


def tiny_tokenizer(*, chat: bool) -> PreTrainedTokenizerFast:
    """Frequent words of the shipped corpus, single characters, ChatML special tokens."""
    text = data_path("prompts", "stories.jsonl").read_text(encoding="utf-8")
    words = [word for word, _ in Counter(re.findall(r" ?[A-Za-z']+", text)).most_common()]
    characters = [chr(c) for c in range(32, 127)] + ["\n"]
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    # Of fixed size, so that an edit of the corpus does not draw other weights.
    kept = list(dict.fromkeys(specials + characters + words))[:VOCABULARY]
    vocabulary = {token: i for i, token in enumerate(kept)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z']+|\n|."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>" if chat else "<|endoftext|>",
        eos_token="<|im_end|>" if chat else "<|endoftext|>",
        pad_token="<|im_end|>" if chat else "<|endoftext|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_hf(kind: str):
    """A random Hugging Face model (`llama` or `gpt2`) and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(chat=kind == "llama")
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "vocab_size": len(tokenizer),
    }
    if kind == "llama":
        config = LlamaConfig(
            hidden_size=D_MODEL,
            intermediate_size=64,
            num_hidden_layers=N_LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=N_CTX,
            initializer_range=0.3,
            **ids,
        )
        hf = LlamaForCausalLM(config)
        with torch.no_grad():  # transformers zeroes it, and a real model's <|im_end|> is not zero
            hf.model.embed_tokens.weight[tokenizer.pad_token_id].normal_(std=0.3)
    else:
        config = GPT2Config(
            n_embd=D_MODEL,
            n_layer=N_LAYERS,
            n_head=4,
            n_positions=N_CTX,
            initializer_range=0.3,
            **ids,
        )
        hf = GPT2LMHeadModel(config)
    return hf.eval(), tokenizer


def tiny_model(kind: str, folder: Path):
    """The same as a TransformerLens model: a Bridge on 4, a HookedTransformer on 3.9."""
    hf, tokenizer = tiny_hf(kind)
    if LEGACY:
        return _hooked_transformer(kind, hf, tokenizer)
    hf.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    from creativity_lens.models.loading import load_model

    return load_model(folder)


def _hooked_transformer(kind: str, hf, tokenizer):
    """An unprocessed HookedTransformer, with the library's own conversion of the weights.

    `from_pretrained` knows released models by name alone, so their settings are written out here.
    """
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import (
        convert_gpt2_weights,
        convert_llama_weights,
    )

    settings = {
        "n_layers": N_LAYERS,
        "d_model": D_MODEL,
        "n_ctx": N_CTX,
        "n_heads": 4,
        "d_head": D_MODEL // 4,
        "d_vocab": len(tokenizer),
        "model_name": f"tiny-{kind}",
        "device": "cpu",
        "init_weights": False,
    }
    if kind == "llama":
        convert = convert_llama_weights
        settings |= {
            "d_mlp": hf.config.intermediate_size,
            "n_key_value_heads": hf.config.num_key_value_heads,
            "eps": hf.config.rms_norm_eps,
            "act_fn": "silu",
            "gated_mlp": True,
            "normalization_type": "RMS",
            "final_rms": True,
            "positional_embedding_type": "rotary",
            "rotary_dim": D_MODEL // 4,
            "rotary_adjacent_pairs": False,
        }
    else:
        convert = convert_gpt2_weights
        settings |= {
            "d_mlp": 4 * D_MODEL,
            "eps": hf.config.layer_norm_epsilon,
            "act_fn": hf.config.activation_function,
            "normalization_type": "LN",
            "positional_embedding_type": "standard",
        }
    with warnings.catch_warnings():  # 3.9 says that it is the last of its kind
        warnings.simplefilter("ignore", DeprecationWarning)
        # The tokenizer is set afterwards: the constructor would rebuild it, now adding BOS.
        model = HookedTransformer(HookedTransformerConfig.from_dict(settings))
    model.load_and_process_state_dict(
        convert(hf, model.cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    model.tokenizer = tokenizer
    return model.eval()


def token_rows(*lengths: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Rows of random ordinary tokens, one of each length."""
    generator = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(3, 400, (n,), generator=generator).tolist()) for n in lengths]


def residuals(model, rows, *, pad_id: int = 0, hooks=()) -> list[torch.Tensor]:
    """`resid_post` of each row's own tokens, `[layer, pos, d_model]`, read in one batch."""
    seen: dict[int, torch.Tensor] = {}

    def keep(layer: int):
        return resid_post(layer), lambda stream, hook=None: seen.update({layer: stream.clone()})

    ids, mask = left_pad(rows, pad_id=pad_id)
    read(model, ids, mask, hooks=[*hooks, *(keep(layer) for layer in range(N_LAYERS))])
    stacked = torch.stack([seen[layer] for layer in range(N_LAYERS)], dim=1)
    return [stacked[i, :, -len(row) :] for i, row in enumerate(rows)]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference of two residual vectors, relative to the second one's norm."""
    return float(((a - b).norm(dim=-1) / b.norm(dim=-1)).max())


def live_hooks(model) -> int:
    """How many forward hooks are attached to the model."""
    points = {id(point): point for point in model.hook_dict.values()}
    return sum(len(point.fwd_hooks) for point in points.values())
