"""A tiny saved model with as many layers as a test needs; the shared one has three."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.tiny import N_CTX, tiny_tokenizer


def save_deep_model(folder: Path, n_layers: int) -> Path:
    """Save a random Llama-like model with a chat template, as a user has one on disk."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(chat=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        max_position_embeddings=N_CTX,
        initializer_range=0.3,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
