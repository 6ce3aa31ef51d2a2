"""Tries an engine's optimizers and its optional parts. Run as a file by that engine's own Python, never by Easel's.

    python trial.py '{"build": "/…/try_optimizers.py", "path": "/sources, or null", "limit_s": 300, "items": [
        ["parts", "triton", {}], ["optimizers", "AdamW", {"spelled": "AdamW", "arguments": [], "learning_rate": 0.001}]]}'

The engine's `try_optimizers.py` has `builder(path)`, which returns `build(spelled, arguments, parameters, learning_rate)`: a
function that makes an optimizer with the engine's own code. Each line of output is a JSON object: first the machine (`torch`,
`device`), then for each item `trying` before and `tried` after, so that a reader knows which item a dead process was trying.
Source of the size: bitsandbytes keeps the state of weights with less than 4096 numbers at 32 bits.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import math
import os
import runpy
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

SIZE = 256
"""Side of the square weight that is trained."""
STEPS = 8
"""Optimizer steps: two, and more while the weight has not changed. Rectified Adam skips the first five on purpose."""

FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    subprocess.SubprocessError,
)
"""Errors that are the result of a trial. Any other error ends the process, which is a result too."""


def device_of(torch: Any) -> tuple[str, str]:
    """(torch's id of the best device, the device's name)."""
    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name(0)
    for kind in ("xpu", "mps"):
        found = getattr(torch, kind, None)
        if found is not None and found.is_available():
            return kind, kind
    return "cpu", "cpu"


def attempt(trial: Callable[[], dict], device: str) -> dict:
    """The record of one trial: `ok`, `reason`, `seconds`, and what `trial` returns if it succeeds."""
    started = time.monotonic()
    try:
        record = {"ok": True, "reason": "", **trial()}
    except FAILURES as error:
        record = {"ok": False, "reason": reason(error, device)}
    return {**record, "seconds": round(time.monotonic() - started, 2)}


def reason(error: BaseException, device: str) -> str:
    """Why the trial failed, in one sentence."""
    cause: BaseException | None = error
    while isinstance(error, ImportError) and cause is not None:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return f"{cause.name.split('.')[0]} is not installed."
        cause = cause.__cause__ or cause.__context__
    text = (str(error).strip().splitlines() or [""])[0][:160].rstrip(".")
    if device == "cpu" and any(word in text.lower() for word in ("cuda", "gpu", "nvidia")):
        return "it needs a GPU."
    return f"it stopped with {type(error).__name__}{': ' if text else ''}{text}."


def take_steps(
    torch: Any, device: str, build: Callable[..., Any], spelled: str, arguments: list[str], learning_rate: float
) -> dict[str, Any]:
    """What an optimizer's constructor takes, and the bytes of state per parameter, after it changed a weight and left it finite."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(SIZE, SIZE, bias=False).to(device)
    weight, inputs = layer.weight, torch.randn(8, SIZE, device=device)
    before = weight.detach().clone()
    optimizer = build(spelled, arguments, [weight], learning_rate)
    moved = False
    for step in range(STEPS):
        if step >= 2 and moved:
            break
        (layer(inputs) - inputs).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if not bool(torch.isfinite(weight).all()):
            raise ArithmeticError(f"step {step + 1} produced values that are not finite")
        moved = not torch.equal(weight.detach(), before)
    if not moved:
        raise ArithmeticError(f"{STEPS} steps did not change the weight")
    kept = state_bytes(torch, optimizer.state.get(weight, {}), {id(weight)})
    return {"state_bytes_per_parameter": round(kept / weight.numel(), 4), **signature(type(optimizer))}


def signature(kind: type) -> dict[str, Any]:
    """What a class takes: its name, its file from the folder of its package on, and {argument: {"default": its default}}.

    What only `**others` would take is left out: such a constructor does not say whether it reads it.
    """
    taken = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            default = parameter.default
            taken[name] = {} if default is parameter.empty or default is None else {"default": plain(default)}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "file": source_of(kind), "takes": taken}


def source_of(kind: type) -> str:
    """The path of the file of a class, from the folder of its package on."""
    parts = kind.__module__.split(".")
    file = str(getattr(sys.modules[kind.__module__], "__file__", ""))
    return "/".join([*parts, "__init__.py"] if file.endswith("__init__.py") else [*parts[:-1], f"{parts[-1]}.py"])


def plain(value: Any) -> Any:
    """A default as a JSON value."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def state_bytes(torch: Any, value: Any, counted: set[int]) -> int:
    """Bytes of the tensors in an optimizer's state, each counted once; a quantised tensor is the sum of its parts."""
    if isinstance(value, dict):
        return sum(state_bytes(torch, item, counted) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(state_bytes(torch, item, counted) for item in value)
    if not isinstance(value, torch.Tensor) or id(value) in counted:
        return 0
    counted.add(id(value))
    if hasattr(value, "__tensor_flatten__"):
        return sum(state_bytes(torch, getattr(value, name), counted) for name in value.__tensor_flatten__()[0])
    return value.numel() * value.element_size()


def module(name: str) -> tuple[Any, dict[str, str]]:
    """A module, and a record with its version."""
    found = importlib.import_module(name)
    return found, {"version": str(getattr(found, "__version__", ""))}


def require_gpu(device: str) -> None:
    """Raise RuntimeError, in words that `reason` recognises, on a machine without a GPU."""
    if device == "cpu":
        raise RuntimeError("no GPU")


def require_close(torch: Any, found: Any, wanted: Any, tolerance: float) -> None:
    """Raise ArithmeticError when a result is wrong."""
    if not torch.allclose(found.float(), wanted.float(), atol=tolerance, rtol=0):
        raise ArithmeticError("it computes a wrong result")


def try_attention(torch: Any, device: str) -> dict[str, str]:
    """Compare torch's own attention with the plain formula."""
    query = torch.randn(1, 2, 64, 32, device=device)
    plain = torch.softmax(query @ query.transpose(-1, -2) / 32**0.5, -1) @ query
    require_close(torch, torch.nn.functional.scaled_dot_product_attention(query, query, query), plain, 1e-2)
    return {"version": torch.__version__}


def foreign_attention(torch: Any, device: str, attention: Callable[..., Any]) -> None:
    """Compare another package's attention, with the heads in the third dimension, with torch's own."""
    query = torch.randn(1, 64, 2, 32, device=device, dtype=torch.float16)
    heads = query.transpose(1, 2)
    wanted = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2)
    require_close(torch, attention(query, query, query), wanted, 1e-2)


def try_xformers(torch: Any, device: str) -> dict[str, str]:
    """Try the memory-efficient attention of xformers."""
    _, record = module("xformers")
    operations = importlib.import_module("xformers.ops")
    require_gpu(device)
    foreign_attention(torch, device, operations.memory_efficient_attention)
    return record


def try_flash_attention(torch: Any, device: str) -> dict[str, str]:
    """Try the attention of flash-attn."""
    found, record = module("flash_attn")
    require_gpu(device)
    foreign_attention(torch, device, found.flash_attn_func)
    return record


def try_triton(torch: Any, device: str) -> dict[str, str]:
    """Try a kernel that torch compiles with Triton."""
    _, record = module("triton")
    require_gpu(device)
    numbers = torch.arange(1024.0, device=device)
    require_close(torch, torch.compile(lambda x: x * 2 + 1)(numbers), numbers * 2 + 1, 1e-3)
    return record


def try_bitsandbytes(torch: Any, device: str) -> dict[str, str]:
    """Quantise numbers to 8 bits and back with bitsandbytes."""
    _, record = module("bitsandbytes")
    functional = importlib.import_module("bitsandbytes.functional")
    numbers = torch.linspace(-1, 1, 4096, device=device)
    codes, state = functional.quantize_blockwise(numbers)
    require_close(torch, functional.dequantize_blockwise(codes, state), numbers, 0.05)
    return record


PARTS = {
    "attention": try_attention,
    "bitsandbytes": try_bitsandbytes,
    "deepspeed": lambda _torch, _device: module("deepspeed")[1],
    "flash_attn": try_flash_attention,
    "torchao": lambda _torch, _device: module("torchao")[1],
    "triton": try_triton,
    "xformers": try_xformers,
}


def try_items(torch: Any, device: str, task: dict, say: Callable[[dict], None]) -> None:
    """Try each item and report its result; stop after one that leaves the device unusable."""
    engine: dict[str, Any] = {}
    loaded = attempt(lambda: engine.update(build=runpy.run_path(task["build"])["builder"](task["path"])) or {}, device)
    for kind, name, call in task["items"]:
        say({"trying": [kind, name]})
        # The alarm ends the process, even inside a library's own code; the reader then continues after this item.
        signal.alarm(task["limit_s"])
        if kind == "parts":
            record = attempt(lambda name=name: PARTS[name](torch, device), device)
        elif loaded["ok"]:
            record = attempt(lambda call=call: take_steps(torch, device, engine["build"], **call), device)
        else:
            record = loaded
        signal.alarm(0)
        say({"tried": [kind, name], **record})
        # A failed kernel may leave the device unusable, and then every later item would fail too.
        if not record["ok"] and device == "cuda" and not attempt(lambda: use(torch, device), device)["ok"]:
            return


def use(torch: Any, device: str) -> dict:
    """Compute something, which fails on an unusable device."""
    torch.ones(8, device=device).sum().item()
    return {}


def main() -> None:
    """Report the machine, then try the items."""
    task = json.loads(sys.argv[1])
    # Libraries may print to stdout: send that to stderr, and only the results to the real stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)  # more threads cost more time than they save on work of this size
    device, name = device_of(torch)

    def say(record: dict) -> None:
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    say({"torch": torch.__version__, "device": name})
    try_items(torch, device, task, say)


if __name__ == "__main__":
    main()
