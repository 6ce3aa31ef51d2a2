"""The environment variables of queued runs: those of the terminal or notebook that queued the run, and no secrets.

The owner of the queue may be started by any shell. So it gets only the variables that are listed here, and a run is started with
the values that they had when it was queued, which are in the list of waiting runs. That is a file, so a variable with a secret is
never among them: a queued run reads tokens from where programs store them, such as the login file of huggingface_hub.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from trainer_core.child import is_secret

_NAMES = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "TMP",
        "TEMP",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "HF_TOKEN_PATH",
    ]
)
_PREFIXES = (
    "LC_",
    "XDG_",
    "EASEL_",
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "DIFFUSERS_",
    "TOKENIZERS_",
    "WANDB_",
    "CUDA_",
    "NVIDIA_",
    "HIP_",
    "HSA_",
    "ROCR_",
    "ROCM_",
    "PYTORCH_",
    "TORCH_",
    "TORCHINDUCTOR_",
    "TRITON_",
    "NCCL_",
    "OMP_",
    "MKL_",
    "XFORMERS_",
)
_OWNERS = ("EASEL_HOME", "PYTHONPATH")
"""What the owner of the queue keeps: it is for one home folder, and imports Easel."""
LOGIN = "log in with `hf auth login`, or the program's own login, which stores it in a file"


def kept(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this process, or of `environment`, that a queued run gets."""
    given = os.environ if environment is None else environment
    return {name: value for name, value in given.items() if _is_listed(name) and not is_secret(name, value)}


def left_out(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The names of the listed variables of this process, or of `environment`, that a queued run does not get: secrets."""
    given = os.environ if environment is None else environment
    return tuple(sorted(name for name, value in given.items() if value and _is_listed(name) and is_secret(name, value)))


def warning(names: tuple[str, ...]) -> str:
    """A sentence about the variables that were left out; "" without any."""
    if not names:
        return ""
    return f"Queued runs do not get {', '.join(names)} of this environment. If a run needs a token: {LOGIN}."


def use(recorded: Mapping[str, str]) -> None:
    """Gives this process, the owner of the queue, the variables that were recorded when a run was queued."""
    if recorded:
        own = {name: os.environ[name] for name in _OWNERS if name in os.environ}
        os.environ.clear()
        os.environ.update({**recorded, **own})


def _is_listed(name: str) -> bool:
    return name.upper() in _NAMES or name.startswith(_PREFIXES)
