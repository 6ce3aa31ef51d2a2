"""A check that an engine's environment works. Run as a file by that environment's own Python, never by Easel's.

    python check.py '{"imports": ["torch", "library.train_util"], "path": "/folder/of/sources", "device": "cuda"}'

The last line of its output is a JSON object: `ok`, `failure`, and the versions and devices that were found.
"""

import importlib
import json
import platform
import sys
import traceback


def check(imports, path, device):
    """The versions and devices that were found. Does not catch what an import or a kernel raises."""
    if path:
        sys.path.insert(0, path)
    for name in imports:
        importlib.import_module(name)
    torch = importlib.import_module("torch")
    seen = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
    }
    if device in ("cuda", "rocm"):
        seen.update(check_kernel(torch, device))
    return seen


def check_kernel(torch, device):
    """The GPU's name and architecture, after it has computed something.

    `is_available` alone is not enough: it is True for a card that the build has no kernels for, where the first operation fails.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("torch finds no GPU")
    properties = torch.cuda.get_device_properties(0)
    architecture = (
        "sm_%d%d" % (properties.major, properties.minor) if device == "cuda" else properties.gcnArchName.split(":")[0]
    )
    compiled = torch.cuda.get_arch_list()
    total = (torch.ones(8, device="cuda") * 2).sum().item()
    if total != 16:
        raise RuntimeError("the GPU computed %r instead of 16" % total)
    return {"gpu": properties.name, "architecture": architecture, "architectures": compiled}


def main():
    """Print what `check` found, or the failure in one line."""
    task = json.loads(sys.argv[1])
    try:
        answer = {"ok": True, **check(task["imports"], task.get("path"), task.get("device"))}
    except BaseException as error:  # noqa: BLE001 - any error of an import is the result
        traceback.print_exc()
        answer = {
            "ok": False,
            "failure": "%s: %s" % (type(error).__name__, (str(error).strip().splitlines() or [""])[-1]),
        }
    print(json.dumps(answer))
    sys.exit(0 if answer["ok"] else 1)


if __name__ == "__main__":
    main()
