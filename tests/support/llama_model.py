"""Writes a language model with random weights: real tokens and real streams, no meaning.

python -m tests.support.llama_model FILE
"""

import sys
from pathlib import Path

import gguf
import numpy as np

CONTEXT = 4096
WIDTH, HEADS, FEED_FORWARD, LAYERS = 128, 4, 256, 2
"""1.6 MB, some 2,400 tokens a second on one thread."""
SPREAD = 0.05
WORDS = ["status", "probe", "token", "speed", "uptime", "model", "latency", "provider", "answer", "window"]
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def write(file: Path) -> None:
    writer = gguf.GGUFWriter(file, "llama")
    _describe(writer)
    _add_vocabulary(writer)
    _add_weights(writer, vocabulary=3 + 256 + len(WORDS))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_chat_template(TEMPLATE)


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """Three controls, every byte, and a few whole words that score better than their bytes."""
    control, byte, normal = gguf.TokenType.CONTROL, gguf.TokenType.BYTE, gguf.TokenType.NORMAL
    tokens = [
        *(b"<unk>", b"<s>", b"</s>"),
        *(f"<0x{value:02X}>".encode() for value in range(256)),
        *(("\u2581" + word).encode() for word in WORDS),
    ]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.UNKNOWN, control, control, *[byte] * 256, *[normal] * len(WORDS)])
    writer.add_token_scores([0.0] * 3 + [-1000.0] * 256 + [-float(place) for place in range(len(WORDS))])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)


def _add_weights(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    chance = np.random.default_rng(7)

    def random(name: str, *shape: int) -> None:
        writer.add_tensor(name, (chance.standard_normal(shape) * SPREAD).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones((WIDTH,), np.float32))

    random("token_embd.weight", vocabulary, WIDTH)
    ones("output_norm.weight")
    random("output.weight", vocabulary, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        ones(block + "attn_norm.weight")
        ones(block + "ffn_norm.weight")
        for part in ("q", "k", "v", "output"):
            random(f"{block}attn_{part}.weight", WIDTH, WIDTH)
        random(block + "ffn_gate.weight", FEED_FORWARD, WIDTH)
        random(block + "ffn_up.weight", FEED_FORWARD, WIDTH)
        random(block + "ffn_down.weight", WIDTH, FEED_FORWARD)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
