"""Makes a tiny FLUX.1 Kontext with random weights, as a folder in the diffusers layout. Run by a Python that has diffusers:

python tiny_kontext.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import importlib
from typing import Any

# No test imports this file, and Easel's own environment has none of these.
diffusers: Any = importlib.import_module("diffusers")
tokenizers: Any = importlib.import_module("tokenizers")
torch: Any = importlib.import_module("torch")
transformers: Any = importlib.import_module("transformers")

LETTERS = "".join(map(chr, range(33, 127)))
SHIFT = {
    "use_dynamic_shifting": True,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}


def parts():
    transformer = diffusers.FluxTransformer2DModel(
        num_layers=1, num_single_layers=1, attention_head_dim=128, num_attention_heads=1, joint_attention_dim=32,
        pooled_projection_dim=64, guidance_embeds=True,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=1,
        block_out_channels=[8, 8, 16, 16], norm_num_groups=8, latent_channels=16, use_quant_conv=False,
        use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159,
    )  # fmt: skip
    clip = transformers.CLIPTextConfig(
        vocab_size=300, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1,
        max_position_embeddings=77, projection_dim=64, bos_token_id=298, eos_token_id=299,
    )  # fmt: skip
    t5 = transformers.T5Config(
        vocab_size=200, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return {
        "transformer": transformer,
        "text_encoder": transformers.CLIPTextModel(clip),
        "text_encoder_2": transformers.T5EncoderModel(t5),
        "vae": vae,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, **SHIFT),
    }


def tokenizer(folder):
    """One token a letter, for CLIP."""
    folder.mkdir(parents=True)
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    words += [f"<unused{number}>" for number in range(298 - len(words))]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"}
    settings |= {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def tokenizer_2(folder):
    """One token a letter, for T5."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    found = tokenizers.Tokenizer(tokenizers.models.Unigram(words, unk_id=2))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    found.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    transformers.T5TokenizerFast(tokenizer_object=found, model_max_length=512, extra_ids=0).save_pretrained(folder)


def main():
    torch.manual_seed(0)
    folder = Path(sys.argv[1])
    index = {"_class_name": "FluxKontextPipeline"}
    for name, part in parts().items():
        part.save_pretrained(folder / name)
        index[name] = [type(part).__module__.partition(".")[0], type(part).__name__]
    tokenizer(folder / "tokenizer")
    tokenizer_2(folder / "tokenizer_2")
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "T5TokenizerFast"]}
    (folder / "model_index.json").write_text(json.dumps(index))


main()
