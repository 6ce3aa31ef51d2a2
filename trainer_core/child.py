"""The environment variables for starting another Python interpreter. Standard library only, Python 3.8 syntax."""

from __future__ import annotations

import os
from typing import Dict, Mapping, Optional

# Each of these variables has broken an interpreter other than the one it was set for.
# Colab exports UV_SYSTEM_PYTHON (uv then ignores an activated environment), UV_CONSTRAINT (names a missing file) and
# MPLBACKEND=module://matplotlib_inline.backend_inline (breaks every Python without that package).
# Source: astral-sh/uv issues 12715, 12724; googlecolab/colabtools issue 5237.
_DROPPED = {
    "MPLBACKEND",
    # A notebook's kernel sets these. With them an engine would write colours and links into its log file.
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "TTY_COMPATIBLE",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "CONDA_PYTHON_EXE",
    "__PYVENV_LAUNCHER__",
    "BASH_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "PYTHONUSERBASE",
    "PYTHONPLATLIBDIR",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONSAFEPATH",
    "PYTHONWARNINGS",
    "PYTHONBREAKPOINT",
    # Container images set it. Each start of an engine would compile thousands of modules again: 17 of 27 CPU seconds of importing
    # torch, transformers and diffusers.
    "PYTHONDONTWRITEBYTECODE",
    # Keys that only Easel itself uses. A program that needs one, such as the follower of a run on RunPod, is given it by name.
    "RUNPOD_API_KEY",
    "MODEL_TRAINING_RUNPOD_API_KEY",
    "NGROK_AUTHTOKEN",
    "EASEL_SERVE_TOKEN",
}
# ACCELERATE_GRADIENT_ACCUMULATION_STEPS silently overrides the value of a plan. Source: accelerate/accelerator.py.
_DROPPED_PREFIXES = ("UV_", "PIP_", "PYDEVD_", "ACCELERATE_")

# ONNX Runtime from version 1.31 on sends events to Microsoft when it is imported, which SimpleTuner does, and taggers do.
# Source: onnxruntime/Privacy.md; seen as a request through a proxy in a run of SimpleTuner 4.10.1.
_NOTHING_SENT = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def child_environment(
    extra: Optional[Mapping[str, str]] = None, base: Optional[Mapping[str, str]] = None
) -> Dict[str, str]:
    """A copy of `base` (by default this process's environment), plus `extra`.

    Variables that break another interpreter and keys that are Easel's own are left out. Libraries are told to report nothing about
    their use; a value of the user's stays.
    """
    base = os.environ if base is None else base
    kept = {
        name: value for name, value in base.items() if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }
    return {**_NOTHING_SENT, **kept, **(extra or {})}
