"""Tries an engine's optimizers and the parts beside it. Run as a file by that engine's own Python; Easel itself never imports it.

    python engine_trial.py '{"build": "/…/try_optimizers.py", "path": "/sources, or null", "limit_s": 300, "items": [
        ["parts", "triton", {}], ["optimizers", "AdamW", {"spelled": "AdamW", "arguments": [], "learning_rate": 0.001}]]}'

The engine's `try_optimizers.py` has `builder(path)`, which returns `build(spelled, arguments, parameters, learning_rate)`: an
optimizer made by the engine's own function. Each line of output is a JSON object: first what is here (`torch`, `device`),
then for each item `trying` before and `tried` after, so that a reader knows what a process that died was at.
Source of the size: bitsandbytes keeps the state of weights with less than 4096 numbers at 32 bits.
"""

from __future__ import annotations

import importlib
import json
import logging
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
"""Optimizer steps: two, and more while nothing has moved. Rectified Adam takes none of the first five on purpose."""

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
"""What is the answer to a trial. Anything else ends the process, which is an answer too."""


def device_of(torch: Any) -> tuple[str, str]:
    """(the word torch has for the best device, its name)."""
    if torch.cuda.is_available():
        return "cuda", torch.cuda.get_device_name(0)
    for kind in ("xpu", "mps"):
        found = getattr(torch, kind, None)
        if found is not None and found.is_available():
            return kind, kind
    return "cpu", "cpu"


def attempt(trial: Callable[[], dict], device: str) -> dict:
    """The record of one trial: `ok`, `reason`, `seconds`, and what `trial` returns when nothing fails."""
    started = time.monotonic()
    try:
        record = {"ok": True, "reason": "", **trial()}
    except FAILURES as error:
        record = {"ok": False, "reason": reason(error, device)}
    return {**record, "seconds": round(time.monotonic() - started, 2)}


def reason(error: BaseException, device: str) -> str:
    """Why it failed, in one sentence."""
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
) -> dict[str, float]:
    """What an optimizer keeps for each parameter, in bytes, once it has moved a weight and left it finite."""
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
            raise ArithmeticError(f"step {step + 1} left numbers that are not finite")
        moved = not torch.equal(weight.detach(), before)
    if not moved:
        raise ArithmeticError(f"{STEPS} steps did not move the weight")
    kept = state_bytes(torch, optimizer.state.get(weight, {}), {id(weight)})
    return {"state_bytes_per_parameter": round(kept / weight.numel(), 4)}


def state_bytes(torch: Any, value: Any, counted: set[int]) -> int:
    """Bytes of the tensors in an optimizer's state, each once; a quantised tensor is what its parts add up to."""
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
    """A module and the record of its version."""
    found = importlib.import_module(name)
    return found, {"version": str(getattr(found, "__version__", ""))}


def require_gpu(device: str) -> None:
    """Raise RuntimeError, as `reason` understands it, on a machine without a GPU."""
    if device == "cpu":
        raise RuntimeError("no GPU")


def require_close(torch: Any, found: Any, wanted: Any, tolerance: float) -> None:
    """Raise ArithmeticError when a result is not what it must be."""
    if not torch.allclose(found.float(), wanted.float(), atol=tolerance, rtol=0):
        raise ArithmeticError("it computes something wrong")


def try_attention(torch: Any, device: str) -> dict[str, str]:
    """Torch's own attention, against the plain formula."""
    query = torch.randn(1, 2, 64, 32, device=device)
    plain = torch.softmax(query @ query.transpose(-1, -2) / 32**0.5, -1) @ query
    require_close(torch, torch.nn.functional.scaled_dot_product_attention(query, query, query), plain, 1e-2)
    return {"version": torch.__version__}


def foreign_attention(torch: Any, device: str, attention: Callable[..., Any]) -> None:
    """Another package's attention, which has the heads third, against torch's own."""
    query = torch.randn(1, 64, 2, 32, device=device, dtype=torch.float16)
    heads = query.transpose(1, 2)
    wanted = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2)
    require_close(torch, attention(query, query, query), wanted, 1e-2)


def try_xformers(torch: Any, device: str) -> dict[str, str]:
    """Its memory efficient attention."""
    _, record = module("xformers")
    operations = importlib.import_module("xformers.ops")
    require_gpu(device)
    foreign_attention(torch, device, operations.memory_efficient_attention)
    return record


def try_flash_attention(torch: Any, device: str) -> dict[str, str]:
    """Its attention."""
    found, record = module("flash_attn")
    require_gpu(device)
    foreign_attention(torch, device, found.flash_attn_func)
    return record


def try_triton(torch: Any, device: str) -> dict[str, str]:
    """A kernel that torch compiles through it."""
    _, record = module("triton")
    require_gpu(device)
    numbers = torch.arange(1024.0, device=device)
    require_close(torch, torch.compile(lambda x: x * 2 + 1)(numbers), numbers * 2 + 1, 1e-3)
    return record


def try_bitsandbytes(torch: Any, device: str) -> dict[str, str]:
    """Numbers to 8 bits and back."""
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
    """Try each item and say what came of it, up to one that leaves the device unusable."""
    engine: dict[str, Any] = {}
    loaded = attempt(lambda: engine.update(build=runpy.run_path(task["build"])["builder"](task["path"])) or {}, device)
    for kind, name, call in task["items"]:
        say({"trying": [kind, name]})
        # Its default action ends the process, inside a library's own code too; the reader then goes on after this item.
        signal.alarm(task["limit_s"])
        if kind == "parts":
            record = attempt(lambda name=name: PARTS[name](torch, device), device)
        elif loaded["ok"]:
            record = attempt(lambda call=call: take_steps(torch, device, engine["build"], **call), device)
        else:
            record = loaded
        signal.alarm(0)
        say({"tried": [kind, name], **record})
        # A kernel that failed may have taken the device with it, and everything after it would fail alike.
        if not record["ok"] and device == "cuda" and not attempt(lambda: use(torch, device), device)["ok"]:
            return


def use(torch: Any, device: str) -> dict:
    """Compute something, so that a device that is gone says so."""
    torch.ones(8, device=device).sum().item()
    return {}


def main() -> None:
    """Say what is here, and try the items."""
    task = json.loads(sys.argv[1])
    # Libraries print what they like: only the answers go where they are read.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)  # waiting for more of them takes longer than work of this size
    device, name = device_of(torch)

    def say(record: dict) -> None:
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    say({"torch": torch.__version__, "device": name})
    try_items(torch, device, task, say)


if __name__ == "__main__":
    main()
