"""Makes a tiny captioner with random weights and the interface of a real one. Run by a Python that has transformers:

python tiny_captioner.py LOADER FOLDER
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "user", "assistant", "system", ":", "a", "red", "coat", "bridge", "dawn",
         "Write", "one", "caption", "of", "the", "image", "."]  # fmt: skip
CHAT = (
    "{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)


def tokenizer(transformers: Any, more: list[str], image: str = "<image>") -> Any:
    """A tokenizer of whole words."""
    tokenizers = importlib.import_module("tokenizers")
    vocabulary = {word: place for place, word in enumerate([*WORDS, *more])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": image}, additional_special_tokens=more or None,
    )  # fmt: skip


def save(model: Any, folder: Path) -> None:
    """Saves the model so that it writes some words before it ends, none of them special tokens."""
    settings = model.generation_config
    settings.eos_token_id, settings.suppress_tokens, settings.min_new_tokens = 2, [0, 1, 3, 4], 6
    model.save_pretrained(folder)


def llava(transformers: Any, folder: Path) -> None:
    """The class of JoyCaption: a vision tower of SigLIP and a Llama."""
    words = tokenizer(transformers, [])
    vision = transformers.SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = transformers.LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=4,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    save(model, folder)
    images = transformers.SiglipImageProcessor(size={"height": 28, "width": 28})
    processor = transformers.LlavaProcessor(
        images,
        words,
        patch_size=14,
        vision_feature_select_strategy="full",
        chat_template=CHAT.replace("IMAGE", "<image>"),
        num_additional_image_tokens=0,
    )
    processor.save_pretrained(folder)


def qwen(transformers: Any, folder: Path) -> None:
    """Qwen2.5-VL."""
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    words = tokenizer(transformers, marks, "<|image_pad|>")
    places = {name: words.convert_tokens_to_ids(name) for name in marks}
    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 32,
              "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "fullatt_block_indexes": [1],
              "window_size": 56}  # fmt: skip
    text = {"vocab_size": len(words), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}}  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(
        vision_config=vision, text_config=text, image_token_id=places["<|image_pad|>"], video_token_id=places["<|video_pad|>"],
        vision_start_token_id=places["<|vision_start|>"], vision_end_token_id=places["<|vision_end|>"],
    )  # fmt: skip
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    save(model, folder)
    template = CHAT.replace("IMAGE", "<|vision_start|> <|image_pad|> <|vision_end|>")
    processor = transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112),
        words,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=template,
    )
    processor.save_pretrained(folder)


def florence(transformers: Any, folder: Path) -> None:
    """Florence-2: a vision tower of its own and a BART."""
    words = tokenizer(transformers, ["What", "does", "describe?"])
    vision = {"embed_dim": [8, 16, 16, 32], "num_heads": [1, 2, 2, 4], "num_groups": [1, 2, 2, 4], "depths": [1, 1, 1, 1],
              "projection_dim": 32, "window_size": 2}  # fmt: skip
    text = {"model_type": "bart", "vocab_size": len(words), "d_model": 32, "encoder_layers": 1, "decoder_layers": 1,
            "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 2,
            "forced_eos_token_id": 2, "max_position_embeddings": 1024}  # fmt: skip
    config = transformers.Florence2Config(text_config=text, vision_config=vision, image_token_id=4)
    model = transformers.Florence2ForConditionalGeneration(config)
    save(model, folder)
    side = {"height": 64, "width": 64}
    images = transformers.CLIPImageProcessor(size=side, crop_size=side, do_center_crop=False)
    images.image_seq_length = 5
    transformers.Florence2Processor(images, words).save_pretrained(folder)


MAKERS = {
    "LlavaForConditionalGeneration": llava,
    "Qwen2_5_VLForConditionalGeneration": qwen,
    "Florence2ForConditionalGeneration": florence,
}


def main() -> None:
    """Makes the model that the arguments name."""
    transformers, torch = importlib.import_module("transformers"), importlib.import_module("torch")
    torch.manual_seed(0)
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    MAKERS[sys.argv[1]](transformers, folder)


if __name__ == "__main__":
    main()
