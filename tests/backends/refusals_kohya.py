"""What the training scripts of sd-scripts say to a configuration. Run by that engine's own Python, from its source folder.

    python refusals_kohya.py CASES.json ANSWERS.json

Easel never imports it: it imports the engine. Each case is {"id", "folder", "arguments": [script, option, ...]}; its
script is run there as a program, with its own parser and its own checks, until the first model would be handed to
accelerate: every check of a configuration lies before that. An answer is a line
{"id", "outcome": "passed" | "refused" | "ended", "error", "trace", "log"}.

Nothing of the engine is changed but what takes gigabytes, minutes or the network: the weights of a model are tensors
without memory (torch's meta device) that have the shapes the file names, they stay where they are, latents and texts are
not encoded, and a tokenizer that is not on this machine is a stand-in.
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


class PastTheChecks(BaseException):
    """Raised where training would begin. No Exception, so that nothing of the engine catches it."""


def weights(path: Any, *_: Any, **__: Any) -> dict[str, Any]:
    """The tensors of a safetensors file, without their memory."""
    return {key: torch.empty(shape, dtype=kind, device="meta") for key, (kind, shape) in layout(str(path)).items()}


@functools.cache
def layout(path: str) -> dict[str, tuple[Any, list[int]]]:
    """Type and shape of each tensor of a safetensors file: the length of a JSON table, and the table."""
    with Path(path).open("rb") as file:
        table = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {key: (TYPES[entry["dtype"]], entry["shape"]) for key, entry in table.items() if key != "__metadata__"}


def stays(move: Any) -> Any:
    """`Tensor.to` or `Tensor.cpu` that changes the type of a tensor without memory, and not its place."""

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_meta:
            return move(self, *args, **kwargs)
        wanted = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype)]
        return move(self, wanted[0]) if wanted else self

    return to


def main() -> None:
    """Answer every case of the first file into the second."""
    cases, answers = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, str(Path.cwd()))
    with without_gigabytes(), answers.open("w", encoding="utf-8") as file:
        for case in json.loads(cases.read_text("utf-8")):
            with contextlib.chdir(case["folder"]):
                print(json.dumps({"id": case["id"], **answer(case["arguments"])}), file=file, flush=True)


def answer(arguments: list[str]) -> dict[str, str]:
    """What the script does with these arguments: what it raised, and all it said on the way, on one line."""
    said, end = io.StringIO(), End()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    forget_the_last_case()
    spoken = contextlib.redirect_stdout(said), contextlib.redirect_stderr(said)
    with spoken[0], spoken[1], mock.patch.object(sys, "argv", arguments), end:
        runpy.run_path(arguments[0], run_name="__main__")
    logging.getLogger().removeHandler(handler)
    log = " ".join(said.getvalue().split())
    return {"outcome": end.outcome, "error": end.error, "trace": end.trace[-LONGEST_LOG:], "log": log[-LONGEST_LOG:]}


class End:
    """How a script ended, whatever it raised: all that is asked here is what that was."""

    outcome, error, trace = "ended", "", ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: object) -> bool:
        if isinstance(raised, PastTheChecks):
            self.outcome = "passed"
        elif isinstance(raised, Exception | SystemExit):
            self.outcome, self.error = "refused", f"{type(raised).__name__}: {raised}"
            self.trace = "".join(traceback.format_exception(raised))
        return not isinstance(raised, KeyboardInterrupt)


def forget_the_last_case() -> None:
    """The engine trains once in a process and keeps what it trains with in classes; here it begins anew."""
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
def without_gigabytes() -> Iterator[None]:
    """The engine without its weights, encodings and tokenizers, stopped where training would begin."""
    with contextlib.ExitStack() as stack:

        def replace(owner: Any, name: str, by: Any) -> None:
            stack.enter_context(mock.patch.object(owner, name, by))

        replace(torch.Tensor, "to", stays(torch.Tensor.to))
        replace(torch.Tensor, "cpu", stays(torch.Tensor.cpu))
        replace(safetensors_torch, "load_file", weights)
        library = {
            name: importlib.import_module(f"library.{name}")
            for name in ("train_util", "safetensors_utils", "model_util", "sdxl_model_util")
        }
        replace(library["safetensors_utils"].MemoryEfficientSafeOpen, "get_tensor", slice_without_memory)
        replace(library["train_util"].DatasetGroup, "new_cache_latents", nothing)
        replace(library["train_util"].DatasetGroup, "new_cache_text_encoder_outputs", nothing)
        for module, name in (
            ("model_util", "load_models_from_stable_diffusion_checkpoint"),
            ("sdxl_model_util", "load_models_from_sdxl_checkpoint"),
        ):
            replace(library[module], name, on_meta(getattr(library[module], name)))
        for kind in (transformers.AutoTokenizer, transformers.PreTrainedTokenizerBase):
            replace(kind, "from_pretrained", here_or_stand_in(kind.from_pretrained.__func__))
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
            # Tokenizers that lie in the engine's folder, but not in every copy of it.
            replace(anima, "load_qwen3_tokenizer", stand_in)
            replace(anima, "load_t5_tokenizer", stand_in)
            replace(anima, "load_qwen3_text_encoder", small_qwen3)
        replace(importlib.import_module("accelerate").Accelerator, "prepare", training_begins)
        for name in ("kaiming_uniform_", "normal_", "uniform_", "xavier_uniform_", "zeros_"):
            replace(torch.nn.init, name, as_it_is)
        gc.freeze()  # the engine collects garbage often, and what was imported is none
        yield


def nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""


def as_it_is(tensor: Any, *_: Any, **__: Any) -> Any:
    """In the place of what gives a new network its first values."""
    return tensor


def training_begins(*_: Any, **__: Any) -> None:
    """In the place of `Accelerator.prepare`."""
    raise PastTheChecks


def slice_without_memory(self: Any, key: str, device: Any = None, dtype: Any = None) -> Any:
    """In the place of `MemoryEfficientSafeOpen.get_tensor`."""
    return torch.empty(self.header[key]["shape"], dtype=dtype or TYPES[self.header[key]["dtype"]], device="meta")


def on_meta(load: Any) -> Any:
    """A loader of the engine whose models take no memory."""

    def loaded(*args: Any, **kwargs: Any) -> Any:
        with torch.device("meta"):
            return load(*args, **kwargs)

    return loaded


def here_or_stand_in(load: Any) -> Any:
    """A tokenizer that lies on this machine, or one that stands in for it."""

    def from_pretrained(kind: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        return load(kind, name, *args, **kwargs) if Path(str(name)).is_dir() else stand_in()

    return classmethod(from_pretrained)


def stand_in(*_: Any, **__: Any) -> Any:
    """A tokenizer with as many words as the one HunyuanImage's ByT5 has; nothing here asks for more."""
    return mock.MagicMock(__len__=lambda _: 1510)


def sd3_vae(*_: Any, **__: Any) -> Any:
    """In the place of SD3's VAE, of which no file's layout is recorded."""
    with torch.device("meta"):
        return importlib.import_module("library.sd3_models").SDVAE()


def small_qwen3(*_: Any, **__: Any) -> Any:
    """In the place of Anima's text encoder, whose configuration lies where its tokenizer does."""
    with torch.device("meta"):
        config = transformers.Qwen3Config(hidden_size=64, num_hidden_layers=1, vocab_size=100)
        return transformers.Qwen3Model(config), stand_in()


if __name__ == "__main__":
    main()
