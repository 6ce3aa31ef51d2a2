"""A check that ONNX Runtime computes on a device. Run as a file by the environment's own Python, never by Easel's.

    python onnx_check.py '{"imports": ["onnxruntime"], "device": "cuda"}'

The last line of its output is a JSON object: `ok`, `failure`, the version, the providers, and the one that computed. A provider
that is listed may still fail when a session is created, so a model that adds a number to itself is run.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

PROVIDERS = {"cuda": "CUDAExecutionProvider", "rocm": "ROCMExecutionProvider", "": "CPUExecutionProvider"}


def field(number: int, content: int | bytes) -> bytes:
    """A field of a protobuf message: a whole number, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it."""
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def model() -> bytes:
    """An ONNX model with one node, y = x + x, of one number. Source: onnx/onnx.proto, the numbers of the fields."""
    shape = field(2, field(1, field(1, 1)))
    tensor = field(2, field(1, field(1, 1) + shape))
    node = field(1, b"x") + field(1, b"x") + field(2, b"y") + field(4, b"Add")
    graph = (
        field(1, node) + field(2, b"double") + field(11, field(1, b"x") + tensor) + field(12, field(1, b"y") + tensor)
    )
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def check(imports: Sequence[str], device: str) -> dict[str, Any]:
    """The version and the providers, after the wanted one has computed."""
    for name in imports:
        importlib.import_module(name)
    runtime, numpy = importlib.import_module("onnxruntime"), importlib.import_module("numpy")
    if device and hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    wanted = PROVIDERS.get(device, PROVIDERS[""])
    if wanted not in runtime.get_available_providers():
        raise RuntimeError(f"ONNX Runtime has no {wanted} here")
    session = runtime.InferenceSession(model(), providers=[wanted])
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"ONNX Runtime lists {wanted}, but does not use it")
    (found,) = session.run(None, {"x": numpy.array([21], "float32")})
    if found.tolist() != [42.0]:
        raise RuntimeError(f"ONNX Runtime computed {found.tolist()} instead of [42.0]")
    return {"version": runtime.__version__, "providers": runtime.get_available_providers(), "used": wanted}


def refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: classes of its own, which have no common base."""
    try:
        state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    except ImportError:
        return ()
    return tuple(each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception))


def main() -> None:
    """Print what `check` found, or the failure in one line."""
    task = json.loads(sys.argv[1])
    try:
        answer = {"ok": True, **check(task["imports"], task.get("device"))}
    except (ImportError, OSError, RuntimeError, ValueError, AttributeError, KeyError, *refusals()) as error:
        last = (str(error).strip().splitlines() or [""])[-1]
        answer = {"ok": False, "failure": f"{type(error).__name__}: {last}"}
    print(json.dumps(answer))
    sys.exit(0 if answer["ok"] else 1)


if __name__ == "__main__":
    main()
