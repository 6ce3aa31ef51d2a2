"""Proves what an engine's torch can do on this machine. Run as a file by that engine's own Python, never by Easel's.

    python proof.py kernel|bitsandbytes|attention PARENT LIMIT_S

The last line of its output is a JSON object. `ok` says whether it works, `reason` in a sentence why not.
Source of the step with 8 bits: bitsandbytes, optim/optimizer.py (states of tensors with less than 4096 numbers stay at 32 bits) and
cextension.py (ErrorHandlerMockBNBNativeLibrary stands for a library that could not be loaded). `python -m bitsandbytes` proves
nothing: it ends with status 0 without its library, and never makes a step with 8 bits.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# It lies beside this file, whose folder is the first that this Python imports from.
trial: Any = importlib.import_module("trial" if __name__ == "__main__" else "trainer_core.install.inside.trial")

NUMBERS = 1 << 22
"""How many numbers are trained: enough that each is kept in blocks, as those of a real model."""
STEPS = 3
SAVED = 0.3
"""The most that the state in 8 bits may take of that in 32: two numbers of 8 bits and the scales of their blocks are 25.4 %."""
ALIKE = 0.1
"""How far the size of the update may be from that of torch's own optimizer."""
_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""
MOCK = "ErrorHandlerMockBNBNativeLibrary"


def prove_kernel(torch: Any) -> dict[str, Any]:
    """What torch is built for, and for each device whether it computed something correct."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "architectures": architectures(torch),
    }
    device, name = trial.device_of(torch)
    if device != "cuda":
        record = trial.attempt(lambda: compute(torch, device), device)
        return {**found, **record, "devices": [{"name": name, "kind": device, **record}]}
    rows = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        record = trial.attempt(lambda index=index: compute(torch, f"cuda:{index}"), device)
        rows.append(
            {
                "name": properties.name,
                "kind": "rocm" if torch.version.hip else "cuda",
                "architecture": getattr(properties, "gcnArchName", "").split(":")[0]
                if torch.version.hip
                else f"{properties.major}.{properties.minor}",
                **record,
            }
        )
    failed = [row for row in rows if not row["ok"]]
    return {
        **found,
        "ok": bool(rows) and not failed,
        "reason": failed[0]["reason"] if failed else "",
        "devices": rows,
    }


def architectures(torch: Any) -> list[str]:
    """The architectures that torch has kernels for; unlike `torch.cuda.get_arch_list` this works without a GPU."""
    flags = getattr(getattr(torch, "_C"), "_cuda_getArchFlags", None)  # noqa: B009 - it is private
    return str(flags() or "").split() if flags is not None else []


def compute(torch: Any, device: str) -> dict[str, Any]:
    """Compare sums and products of matrices in 32 and 16 bits, and a backward pass, with what is known of their results."""
    if (total := (torch.ones(8, device=device) * 2).sum().item()) != 16:
        raise ArithmeticError(f"it computed {total} instead of 16")
    left = torch.linspace(-1, 1, 64 * 64, device=device).reshape(64, 64)
    wanted = left.cpu() @ left.cpu().T
    trial.require_close(torch, (left @ left.T).cpu(), wanted, 0.1)
    precisions = []
    for kind in (torch.float16, torch.bfloat16):
        half = trial.attempt(
            lambda kind=kind: trial.require_close(torch, (left.to(kind) @ left.T.to(kind)).cpu(), wanted, 0.5) or {},
            device,
        )
        precisions += [str(kind).removeprefix("torch.")] if half["ok"] else []
    weight = torch.ones(64, device=device, requires_grad=True)
    (weight * 3).sum().backward()
    trial.require_close(torch, weight.grad.cpu(), torch.full((64,), 3.0), 1e-3)
    return {"precisions": precisions}


def prove_bitsandbytes(torch: Any) -> dict[str, Any]:
    """Whether real steps with 8 bits work, how many bytes their state takes, and which native library does the work."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return {"ok": False, "absent": True, "reason": "it is not installed."}
    device = trial.device_of(torch)[0]
    found: dict[str, Any] = {"device": device, "absent": False}

    def proof() -> dict[str, Any]:
        module = importlib.import_module("bitsandbytes")
        library = importlib.import_module("bitsandbytes.cextension").lib
        found.update(version=str(module.__version__), native=native(library))
        full = measure(torch, device, lambda weights: torch.optim.AdamW(weights, lr=1e-3))
        small = measure(torch, device, lambda weights: module.optim.AdamW8bit(weights, lr=1e-3))
        found.update(full_bytes=full[0], bytes=small[0], numbers=NUMBERS)
        if device != "cpu":
            # What torch has allocated for the states; what it rounds up is small beside them.
            found.update(full_allocated=full[2], allocated=small[2])
            if not abs((full[2] - small[2]) - (full[0] - small[0])) < 0.1 * full[0]:
                raise ArithmeticError("the memory of the GPU did not shrink by the bytes that the state lacks")
            if not found["native"]:
                raise ArithmeticError("its native library could not be loaded")
        if not small[0] < SAVED * full[0]:
            raise ArithmeticError(f"the state takes {small[0] / full[0]:.0%} of that in 32 bits, and nothing is saved")
        if not abs(small[1] - full[1]) < ALIKE * full[1]:
            raise ArithmeticError(f"its update is {small[1] / full[1]:.2f} times that of torch's own AdamW")
        return {}

    return {**trial.attempt(proof, device), **found}


def measure(torch: Any, device: str, make: Callable[[list[Any]], Any]) -> tuple[int, float, int]:
    """(bytes of state, mean size of the update, bytes that torch allocated) of an optimizer after real steps."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(NUMBERS, device=device))
    weight.grad = torch.randn_like(weight)
    old, optimizer = weight.detach().clone(), make([weight])
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    for _ in range(STEPS):
        weight.grad.copy_(torch.randn_like(weight))
        optimizer.step()
    if device == "cuda":
        # The errors of a kernel are reported later than they happen.
        torch.cuda.synchronize()
    allocated = (torch.cuda.memory_allocated() if device == "cuda" else 0) - before
    if not bool(torch.isfinite(weight).all()):
        raise ArithmeticError("its steps produced values that are not finite")
    moved = float((weight.detach() - old).abs().mean())
    return trial.state_bytes(torch, dict(optimizer.state[weight]), set()), moved, allocated


def native(library: Any) -> str:
    """The file name of the native library that was loaded; "" if there is none."""
    if type(library).__name__ == MOCK:
        return ""
    return Path(str(getattr(getattr(library, "_lib", None), "_name", ""))).name


def prove_attention(torch: Any) -> dict[str, Any]:
    """Each attention function: torch's own ones by the name of their backend, and those of installed packages."""
    device = trial.device_of(torch)[0]
    kinds = importlib.import_module("torch.nn.attention")
    kind = torch.float32 if device == "cpu" else torch.float16
    records = {}
    # The others have no kernels for a CPU.
    others = () if device == "cpu" else ("EFFICIENT_ATTENTION", "CUDNN_ATTENTION")
    for backend in ("MATH", "FLASH_ATTENTION", *others):
        if (choice := getattr(kinds.SDPBackend, backend, None)) is None:
            continue
        records[f"sdpa {backend.removesuffix('_ATTENTION').lower()}"] = trial.attempt(
            lambda choice=choice: one_attention(torch, device, kind, lambda: kinds.sdpa_kernel(choice)), device
        )
    usual = trial.attempt(lambda: trial.try_attention(torch, device), device)
    for package, call in (("xformers", trial.try_xformers), ("flash_attn", trial.try_flash_attention)):
        if importlib.util.find_spec(package) is not None:
            records[package] = trial.attempt(lambda call=call: call(torch, device), device)
    return {"ok": usual["ok"], "reason": usual["reason"], "device": device, "kinds": records}


def one_attention(torch: Any, device: str, kind: Any, only: Callable[[], Any]) -> dict[str, Any]:
    """Compare one backend of torch's attention, forward and backward, with the plain formula."""
    torch.manual_seed(0)
    query = torch.randn(1, 2, 64, 64, device=device, dtype=kind, requires_grad=True)
    plain = torch.softmax(query.float() @ query.float().transpose(-1, -2) / 8, -1) @ query.float()
    with only():
        found = torch.nn.functional.scaled_dot_product_attention(query, query, query)
        trial.require_close(torch, found, plain, 2e-2)
        found.float().sum().backward()
    if not bool(torch.isfinite(query.grad).all()):
        raise ArithmeticError("its gradients are not finite")
    return {}


def end_in_time(parent: int, limit_s: int) -> None:
    """End this process after so many seconds, and when the process that started it ends, however that ends.

    The kernel does both, because a call into a driver that hangs stops the threads of Python. Not on every system it tells the end
    of a parent: there a thread sees it by the end of the standard input.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(limit_s)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_end_with_input, daemon=True).start()


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


PROOFS = {"kernel": prove_kernel, "bitsandbytes": prove_bitsandbytes, "attention": prove_attention}


def main() -> None:
    """Print what was proved, in one line."""
    end_in_time(int(sys.argv[2]), int(sys.argv[3]))
    # Libraries may print to stdout: send that to stderr, and only the result to the real stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    torch = importlib.import_module("torch")
    found = PROOFS[sys.argv[1]](torch)
    answers.write(json.dumps(found) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
