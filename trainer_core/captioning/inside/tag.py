"""Tags images with a model in ONNX form. Run by the Python of the environment of ONNX Runtime.

    python tag.py TASK.json

TASK.json names the model, how an image becomes its input, and the images. Each line of the output is a JSON object: what is said
once ("ready", with the provider that computes), and for each image its probabilities, or why it could not be read.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROVIDERS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "CoreMLExecutionProvider")
"""The providers that are faster than the CPU, by preference."""
CPU = "CPUExecutionProvider"
TOGETHER = 8
"""How many images a GPU gets at once, if the model takes several."""
READ_AHEAD = 16
WHITE = (255, 255, 255)
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, MemoryError,
    RuntimeError, AssertionError,
)  # fmt: skip
"""What Pillow's decoders raise for damaged files."""

Say = Callable[[dict[str, Any]], None]


def prepared(path: str, how: dict[str, Any], formats: Sequence[str]) -> Any:
    """The input that an image becomes, without the dimension of the batch."""
    numpy, image_module, operations = (importlib.import_module(name) for name in ("numpy", "PIL.Image", "PIL.ImageOps"))
    with image_module.open(path, formats=formats) as opened:
        image = operations.exif_transpose(opened)
        image.load()
    flat = on_white(image)
    side = how["side"]
    if how["fit"] == "pad":
        longer = max(flat.size)
        square = image_module.new("RGB", (longer, longer), tuple(how["background"]))
        square.paste(flat, ((longer - flat.width) // 2, (longer - flat.height) // 2))
        flat = square
    if flat.size != (side, side):
        flat = flat.resize((side, side), getattr(image_module.Resampling, how["resample"].upper()))
    values = numpy.asarray(flat, dtype="float32")
    if how["channels"] == "BGR":
        values = values[:, :, ::-1]
    values = values * how["scale"]
    values = (values - numpy.array(how["mean"], "float32")) / numpy.array(how["deviation"], "float32")
    return numpy.ascontiguousarray(values if how["layout"] == "NHWC" else values.transpose(2, 0, 1), dtype="float32")


def on_white(image: Any) -> Any:
    """The image in RGB, its transparent parts on white, and 16 bits a channel scaled to 8."""
    if image.mode.startswith("I;16") or image.mode == "I":
        numpy, image_module = importlib.import_module("numpy"), importlib.import_module("PIL.Image")
        image = image_module.fromarray((numpy.asarray(image).clip(0, 65535) // 257).astype("uint8"))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image_module = importlib.import_module("PIL.Image")
        with_alpha = image.convert("RGBA")
        white = image_module.new("RGB", image.size, WHITE)
        white.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return white
    return image.convert("RGB")


def refusals(runtime: Any) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own, which have no common base."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = (each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception))
    return (*own, RuntimeError, ValueError, OSError, runtime.capi.onnxruntime_pybind11_state.Fail)


class Model:
    """A model on the provider that computes; `reasons` are why faster ones do not."""

    def __init__(self, task: dict[str, Any]) -> None:
        """Loads the model on the first provider that passes a trial with an empty image.

        Raises:
            ValueError: the model does not have the input or output that the task says.
        """
        self.runtime = importlib.import_module("onnxruntime")
        if hasattr(self.runtime, "preload_dlls"):
            # The CUDA libraries of the environment, instead of those of the system.
            self.runtime.preload_dlls()
        self.how, self.reasons = dict(task["preparation"]), []
        available = self.runtime.get_available_providers()
        wanted = [each for each in PROVIDERS if each in available and task["device"] != "cpu"]
        for provider in (*wanted, CPU):
            try:
                self._load(task, provider)
            except refusals(self.runtime) as error:
                if provider == CPU:
                    raise ValueError(f"ONNX Runtime cannot run this model: {error}") from error
                self.reasons.append(f"{provider}: {str(error).strip().splitlines()[0] if str(error) else 'failed'}")
                continue
            self.provider = provider
            break
        self._activation = task["activation"]
        self._check(task["labels"])

    def _load(self, task: dict[str, Any], provider: str) -> None:
        options = self.runtime.SessionOptions()
        options.log_severity_level = 3
        if provider == CPU and task.get("threads"):
            options.intra_op_num_threads = task["threads"]
        self.session = self.runtime.InferenceSession(task["model"], options, providers=[provider])
        if self.session.get_providers()[0] != provider:
            raise RuntimeError("it is listed, but ONNX Runtime does not use it")
        self._input = self.session.get_inputs()[0]
        names = [each.name for each in self.session.get_outputs()]
        self._output = task["output"] or names[0]
        if self._output not in names:
            raise RuntimeError(f"it has no output {self._output!r}, only {names}")
        self._set_side()
        numpy = importlib.import_module("numpy")
        side = self.how["side"]
        empty = numpy.zeros((1, side, side, 3) if self.how["layout"] == "NHWC" else (1, 3, side, side), "float32")
        self._width = self.session.run([self._output], {self._input.name: empty})[0].shape[-1]

    def _set_side(self) -> None:
        """Takes the size of the input from the model; a model of the other layout is refused."""
        shape = self._input.shape
        if len(shape) != 4:
            raise RuntimeError(f"its input has the shape {shape}")
        sides, channels = (shape[1:3], shape[3]) if self.how["layout"] == "NHWC" else (shape[2:4], shape[1])
        if isinstance(channels, int) and channels != 3:
            raise RuntimeError(f"its input has the shape {shape}, which does not end in the order {self.how['layout']}")
        if all(isinstance(each, int) and each > 0 for each in sides) and sides[0] == sides[1]:
            self.how["side"] = sides[0]

    def _check(self, labels: int) -> None:
        if self._width != labels:
            raise ValueError(f"The model has {self._width} tags, but its list has {labels}.")

    @property
    def together(self) -> int:
        """How many images it gets at once."""
        return TOGETHER if self.provider != CPU and not isinstance(self._input.shape[0], int) else 1

    def probabilities(self, batch: Any) -> Any:
        """The probability of each tag, for each image of a batch."""
        numpy = importlib.import_module("numpy")
        found = self.session.run([self._output], {self._input.name: batch})[0].astype("float64")
        return 1.0 / (1.0 + numpy.exp(-found)) if self._activation == "sigmoid" else found


def read_ahead(images: Sequence[Any], read: Callable[[str], Any]) -> Iterator[tuple[Any, Any, str]]:
    """For each image its id, its input, and why it cannot be read; some are read before they are needed."""
    waiting: list[tuple[Any, Future[Any]]] = []
    left = iter(images)
    with ThreadPoolExecutor(2) as pool:
        while True:
            for name, path in left:
                waiting.append((name, pool.submit(read, path)))
                if len(waiting) >= READ_AHEAD:
                    break
            if not waiting:
                return
            name, future = waiting.pop(0)
            try:
                yield name, future.result(), ""
            except UNREADABLE as error:
                yield name, None, f"{type(error).__name__}: {error}"


class Tagging:
    """The images of a task on their way through the model, some at once."""

    def __init__(self, task: dict[str, Any], say: Say) -> None:
        began = time.monotonic()
        self._task, self._say = task, say
        self._model = Model(task)
        self._batch: list[tuple[Any, Any]] = []
        seconds = round(time.monotonic() - began, 3)
        say({"said": "ready", "provider": self._model.provider, "reasons": self._model.reasons, "seconds": seconds})

    def run(self) -> None:
        """Tags the images, with a line of output for each."""
        for name, values, reason in read_ahead(self._task["images"], self._read):
            if reason:
                self._say({"said": "error", "id": name, "reason": reason[:500]})
                continue
            self._batch.append((name, values))
            if len(self._batch) >= self._model.together:
                self._finish()
        self._finish()

    def _read(self, path: str) -> Any:
        bomb = importlib.import_module("PIL.Image").DecompressionBombError
        try:
            return prepared(path, self._model.how, self._task["formats"])
        except bomb as error:
            raise ValueError(str(error)) from error

    def _finish(self) -> None:
        """Gives the model what was read, and says what it found."""
        if not self._batch:
            return
        numpy, since, batch = importlib.import_module("numpy"), time.monotonic(), self._batch
        self._batch = []
        try:
            values = self._model.probabilities(numpy.stack([each for _, each in batch]))
        except refusals(self._model.runtime) as error:
            for name, _ in batch:
                self._say({"said": "error", "id": name, "reason": str(error)[:500]})
            return
        seconds = round((time.monotonic() - since) / len(batch), 4)
        for (name, _), row in zip(batch, values, strict=True):
            places = numpy.flatnonzero(row >= self._task["least"])
            kept = [[int(place), round(float(row[place]), 4)] for place in places]
            self._say({"said": "image", "id": name, "tags": kept, "seconds": seconds})


def main(arguments: list[str]) -> int:
    """Tags the images of the task; returns the exit status."""
    # Libraries print to the standard output, which is for the results only.
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        results.write(json.dumps(line) + "\n")
        results.flush()

    try:
        Tagging(json.loads(Path(arguments[0]).read_text("utf-8")), say).run()
    except (ValueError, ImportError) as error:
        say({"said": "failed", "reason": str(error)[:2000]})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
