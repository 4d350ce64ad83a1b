"""Tiny generated models for the real llama.cpp engine: half a megabyte, ready in milliseconds, nonsense answers.

Architecture ``llama`` with a byte vocabulary and random weights; another seed gives another model, so a swap
shows in the answer. Needs the ``demo`` extra. ``python -m tools.tiny_model FILE --seed N``.
"""

import argparse
import sys
from pathlib import Path

WIDTH, LAYERS, HEADS, FORWARD, CONTEXT = 64, 2, 4, 128, 2048
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
LETTERS = " etaoinshrdlucmfwypvbgkjqxz.,!?\n"


def vocabulary() -> tuple[list[bytes], list[float], list[int]]:
    """Tokens, scores and types: three special ones, all bytes, some characters with falling scores."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{byte:02X}>".encode() for byte in range(256)]
    types = [2, 3, 3] + [6] * 256
    letters = [letter.replace(" ", "\u2581").encode() for letter in LETTERS]
    scores = [0.0] * len(tokens) + [-float(number + 1) for number in range(len(letters))]
    return tokens + letters, scores, types + [1] * len(letters)


def write_tiny_model(path: Path, seed: int) -> Path:
    """Write one; the same seed gives the same file."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    tokens, scores, types = vocabulary()
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(f"tiny-{seed}")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, shape in shapes(len(tokens)).items():
        values = np.ones(shape) if name.endswith("norm.weight") else random.normal(0.0, 0.4, shape)
        if name == "output.weight":
            # Only characters are ever likely: half of a character, which a byte may be, upsets clients.
            values[: -len(LETTERS)] = 0.0
            values *= 4.0
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def shapes(tokens: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model."""
    made: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (tokens, WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (tokens, WIDTH),
    }
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        made |= {f"{block}.attn_norm.weight": (WIDTH,), f"{block}.ffn_norm.weight": (WIDTH,)}
        made |= {f"{block}.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        made |= {f"{block}.ffn_{part}.weight": (FORWARD, WIDTH) for part in ("gate", "up")}
        made |= {f"{block}.ffn_down.weight": (WIDTH, FORWARD)}
    return made


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.tiny_model", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_tiny_model(options.file, options.seed)
    print(f"wrote {options.file} ({options.file.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
