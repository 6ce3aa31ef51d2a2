"""Runs the checks of the training scripts of sd-scripts on configurations. Run it with that engine's Python in its source folder.

    python refusals_kohya.py CASES.json ANSWERS.json

Easel never imports this file, because it imports the engine. Each case is {"id", "folder", "arguments": [script, option, ...]}.
The script runs as a program in that folder, with its own parser and checks, until it would pass the first model to accelerate;
all checks of a configuration come before that. An answer is a line
{"id", "outcome": "passed" | "refused" | "ended", "error", "trace", "log"}.

Only slow or large operations of the engine are replaced: weights are tensors on torch's meta device with the shapes from the
file, and they are never moved; latents and captions are not encoded; a tokenizer that is not on this machine is a mock.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import json
import logging
import random
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

torch = importlib.import_module("torch")
transformers = importlib.import_module("transformers")
safetensors_torch = importlib.import_module("safetensors.torch")

LONGEST_LOG = 100_000
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}


class ChecksPassed(BaseException):
    """Raised where training would begin. It is not an Exception, so that the engine does not catch it."""


def weights(path: Any, *_: Any, **__: Any) -> dict[str, Any]:
    """The tensors of a safetensors file, on the meta device."""
    return {key: torch.empty(shape, dtype=kind, device="meta") for key, (kind, shape) in layout(str(path)).items()}


@functools.cache
def layout(path: str) -> dict[str, tuple[Any, list[int]]]:
    """The dtype and shape of each tensor, from the header of a safetensors file."""
    with Path(path).open("rb") as file:
        table = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {key: (TYPES[entry["dtype"]], entry["shape"]) for key, entry in table.items() if key != "__metadata__"}


def without_move(move: Any) -> Any:
    """A `Tensor.to` or `Tensor.cpu` that changes the dtype of a meta tensor, but not its device."""

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_meta:
            return move(self, *args, **kwargs)
        wanted = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype)]
        return move(self, wanted[0]) if wanted else self

    return to


def main() -> None:
    """Runs every case in the first file and writes the answers to the second."""
    cases, answers = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, str(Path.cwd()))
    with with_replacements(), answers.open("w", encoding="utf-8") as file:
        for case in json.loads(cases.read_text("utf-8")):
            with contextlib.chdir(case["folder"]):
                print(json.dumps({"id": case["id"], **answer(case["arguments"])}), file=file, flush=True)


def answer(arguments: list[str]) -> dict[str, str]:
    """The answer of the script to these arguments: its outcome, its error, and its output on one line."""
    output, end = io.StringIO(), End()
    handler = logging.StreamHandler(output)
    logging.getLogger().addHandler(handler)
    reset_engine()
    redirected = contextlib.redirect_stdout(output), contextlib.redirect_stderr(output)
    with redirected[0], redirected[1], mock.patch.object(sys, "argv", arguments), end:
        runpy.run_path(arguments[0], run_name="__main__")
    logging.getLogger().removeHandler(handler)
    log = " ".join(output.getvalue().split())
    return {"outcome": end.outcome, "error": end.error, "trace": end.trace[-LONGEST_LOG:], "log": log[-LONGEST_LOG:]}


class End:
    """Records how a script ended: it catches whatever the script raises, except KeyboardInterrupt."""

    outcome, error, trace = "ended", "", ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: object) -> bool:
        if isinstance(raised, ChecksPassed):
            self.outcome = "passed"
        elif isinstance(raised, Exception | SystemExit):
            self.outcome, self.error = "refused", f"{type(raised).__name__}: {raised}"
            self.trace = "".join(traceback.format_exception(raised))
        return not isinstance(raised, KeyboardInterrupt)


def reset_engine() -> None:
    """Resets the state that the engine keeps in classes: it expects one training per process."""
    base = importlib.import_module("library.strategy_base")
    for name in (
        "TokenizeStrategy",
        "LatentsCachingStrategy",
        "TextEncodingStrategy",
        "TextEncoderOutputsCachingStrategy",
    ):
        getattr(base, name)._strategy = None
    for name in [name for name in sys.modules if name.startswith(("networks.", "lycoris.kohya"))]:
        del sys.modules[name]
    importlib.import_module("accelerate.state").AcceleratorState._reset_state(reset_partial_state=True)
    random.seed(0)


@contextlib.contextmanager
def with_replacements() -> Iterator[None]:
    """Replaces the loading of weights, encoding and tokenizers of the engine, and stops it where training would begin."""
    with contextlib.ExitStack() as stack:

        def replace(owner: Any, name: str, by: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, by))

        replace(torch.Tensor, "to", without_move(torch.Tensor.to))
        replace(torch.Tensor, "cpu", without_move(torch.Tensor.cpu))
        replace(safetensors_torch, "load_file", weights)
        library = {
            name: importlib.import_module(f"library.{name}")
            for name in ("train_util", "safetensors_utils", "model_util", "sdxl_model_util")
        }
        replace(library["safetensors_utils"].MemoryEfficientSafeOpen, "get_tensor", meta_tensor)
        replace(library["train_util"].DatasetGroup, "new_cache_latents", nothing)
        replace(library["train_util"].DatasetGroup, "new_cache_text_encoder_outputs", nothing)
        for module, name in (
            ("model_util", "load_models_from_stable_diffusion_checkpoint"),
            ("sdxl_model_util", "load_models_from_sdxl_checkpoint"),
        ):
            replace(library[module], name, on_meta(getattr(library[module], name)))
        for kind in (transformers.AutoTokenizer, transformers.PreTrainedTokenizerBase):
            replace(kind, "from_pretrained", local_or_mock(kind.from_pretrained.__func__))
        sd3 = importlib.import_module("library.sd3_utils")
        replace(sd3, "load_vae", sd3_vae)
        resize = transformers.PreTrainedModel.resize_token_embeddings
        replace(
            transformers.PreTrainedModel,
            "resize_token_embeddings",
            functools.partialmethod(resize, mean_resizing=False),
        )
        anima = importlib.import_module("library.anima_utils")
        if not Path("configs").is_dir():
            # These tokenizers are in the engine's repository, but not in every copy of it.
            replace(anima, "load_qwen3_tokenizer", mock_tokenizer)
            replace(anima, "load_t5_tokenizer", mock_tokenizer)
            replace(anima, "load_qwen3_text_encoder", small_qwen3)
        replace(importlib.import_module("accelerate").Accelerator, "prepare", training_begins)
        for name in ("kaiming_uniform_", "normal_", "uniform_", "xavier_uniform_", "zeros_"):
            replace(torch.nn.init, name, unchanged)
        gc.freeze()  # the engine collects garbage often; this excludes the imported modules
        yield


def nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""


def unchanged(tensor: Any, *_: Any, **__: Any) -> Any:
    """Replaces functions that initialise the weights of a new network."""
    return tensor


def training_begins(*_: Any, **__: Any) -> None:
    """Replaces `Accelerator.prepare`."""
    raise ChecksPassed


def meta_tensor(self: Any, key: str, device: Any = None, dtype: Any = None) -> Any:
    """Replaces `MemoryEfficientSafeOpen.get_tensor`."""
    return torch.empty(self.header[key]["shape"], dtype=dtype or TYPES[self.header[key]["dtype"]], device="meta")


def on_meta(load: Any) -> Any:
    """A loader of the engine that creates models on the meta device."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        with torch.device("meta"):
            return load(*args, **kwargs)

    return loaded


def local_or_mock(load: Any) -> Any:
    """The tokenizer if it is on this machine, else a mock."""

    def from_pretrained(kind: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        return load(kind, name, *args, **kwargs) if Path(str(name)).is_dir() else mock_tokenizer()

    return classmethod(from_pretrained)


def mock_tokenizer(*_: Any, **__: Any) -> Any:
    """A mock with the vocabulary size of HunyuanImage's ByT5; the checks need nothing else from a tokenizer."""
    return mock.MagicMock(__len__=lambda _: 1510)


def sd3_vae(*_: Any, **__: Any) -> Any:
    """Replaces the loader of SD3's VAE, because no header of such a file is recorded."""
    with torch.device("meta"):
        return importlib.import_module("library.sd3_models").SDVAE()


def small_qwen3(*_: Any, **__: Any) -> Any:
    """Replaces the loader of Anima's text encoder, whose configuration is in the folder of its tokenizer."""
    with torch.device("meta"):
        config = transformers.Qwen3Config(hidden_size=64, num_hidden_layers=1, vocab_size=100)
        return transformers.Qwen3Model(config), mock_tokenizer()


if __name__ == "__main__":
    main()
