"""Writes captions with a model of transformers. Run by the Python of the environment of the local captioners.

    python caption.py TASK.json

TASK.json names the folder of the model, how it is asked, and the images. Each line of the output is a JSON object: what is said
once ("ready", with the device), and for each image its caption, or why there is none. Nothing is downloaded, and no code of
the model's folder is run.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LONGER_SIDE_PX = 1024
WHITE = (255, 255, 255)
REFUSALS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, MemoryError,
    RuntimeError, AssertionError, ImportError,
)  # fmt: skip
"""What Pillow's decoders, torch and transformers raise."""

Say = Callable[[dict[str, Any]], None]


def opened(path: str, formats: Sequence[str]) -> Any:
    """The image, upright, in RGB with its transparent parts on white, and not larger than needed."""
    image_module, operations = (importlib.import_module(name) for name in ("PIL.Image", "PIL.ImageOps"))
    try:
        with image_module.open(path, formats=formats) as found:
            image = operations.exif_transpose(found)
            image.load()
    except image_module.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        flat = image_module.new("RGB", image.size, WHITE)
        flat.paste(with_alpha, mask=with_alpha.getchannel("A"))
    else:
        flat = image.convert("RGB")
    flat.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX))
    return flat


class Model:
    """A model of transformers with its processor, on the best device."""

    def __init__(self, task: dict[str, Any]) -> None:
        """Loads it from its folder.

        Raises:
            ValueError: this version of transformers has no such class.
        """
        self._torch, transformers = (importlib.import_module(name) for name in ("torch", "transformers"))
        loader = getattr(transformers, task["loader"], None)
        if loader is None:
            raise ValueError(f"transformers {transformers.__version__} has no {task['loader']}.")
        self.device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._type = self._torch.bfloat16 if self.device == "cuda" else self._torch.float32
        only_here = {"local_files_only": True, "trust_remote_code": False}
        self._processor = transformers.AutoProcessor.from_pretrained(task["model"], **only_here)
        model = loader.from_pretrained(task["model"], dtype=self._type, use_safetensors=True, **only_here)
        self._model = model.to(self.device).eval()
        self._task = task

    @property
    def title(self) -> str:
        """The device as it is told to the user."""
        return self._torch.cuda.get_device_name(0) if self.device == "cuda" else "the CPU"

    def _words(self, question: str) -> str:
        """What the model is sent as text."""
        if self._task["form"] == "task":
            return self._task["task"]
        content: Any = [{"type": "image"}, {"type": "text", "text": question}]
        talk = [{"role": "user", "content": content}]
        if self._task["system"]:
            talk.insert(0, {"role": "system", "content": [{"type": "text", "text": self._task["system"]}]})
        return self._processor.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)

    def caption(self, image: Any, question: str) -> dict[str, Any]:
        """The caption of an image, why it ended, and the number of its tokens."""
        most = self._task["most_tokens"]
        given = self._processor(text=[self._words(question)], images=[image], return_tensors="pt").to(self.device)
        given = {
            name: value.to(self._type) if self._torch.is_floating_point(value) else value
            for name, value in given.items()
        }
        with self._torch.inference_mode():
            found = self._model.generate(**given, max_new_tokens=most, do_sample=False)
        # The answer begins after the start mark, or after what was sent, which such a model repeats.
        is_pair = getattr(self._model.config, "is_encoder_decoder", False)
        row = found[0][1 if is_pair else given["input_ids"].shape[1] :]
        text = self._processor.batch_decode([row], skip_special_tokens=True)[0]
        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        # Some models are made to end at the limit.
        is_forced = getattr(self._model.generation_config, "forced_eos_token_id", None) is not None
        is_cut = len(row) >= most and (is_forced or int(row[-1]) not in ends)
        return {"text": text.strip(), "finish_reason": "length" if is_cut else "stop", "tokens": len(row)}


def run(task: dict[str, Any], say: Say) -> None:
    """Writes the captions, with a line of output for each image."""
    began = time.monotonic()
    model = Model(task)
    say({"said": "ready", "device": model.title, "seconds": round(time.monotonic() - began, 3)})
    for name, path in task["images"]:
        since = time.monotonic()
        try:
            found = model.caption(opened(path, task["formats"]), task["questions"][name])
        except REFUSALS as error:
            say({"said": "error", "id": name, "reason": f"{type(error).__name__}: {error}"[:500]})
            continue
        say({"said": "image", "id": name, "seconds": round(time.monotonic() - since, 3), **found})


def main(arguments: list[str]) -> int:
    """Writes the captions of the task; returns the exit status."""
    # Libraries print to the standard output, which is for the results only.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        results.write(json.dumps(line) + "\n")
        results.flush()

    try:
        run(json.loads(Path(arguments[0]).read_text("utf-8")), say)
    except REFUSALS as error:
        say({"said": "failed", "reason": f"The model cannot be loaded: {type(error).__name__}: {error}"[:2000]})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
