"""The environment variables for starting another Python interpreter. Standard library only, Python 3.8 syntax."""

from __future__ import annotations

import os
import re
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
}
# ACCELERATE_GRADIENT_ACCUMULATION_STEPS silently overrides the value of a plan. Source: accelerate/accelerator.py.
_DROPPED_PREFIXES = ("UV_", "PIP_", "PYDEVD_", "ACCELERATE_")

# ONNX Runtime from version 1.31 on sends events to Microsoft when it is imported, which SimpleTuner does, and taggers do.
# Source: onnxruntime/Privacy.md; seen as a request through a proxy in a run of SimpleTuner 4.10.1.
_NOTHING_SENT = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


ADDRESSES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "HF_ENDPOINT")
"""Variables with the address of a proxy or a mirror. A program that fetches something needs them also with a password in them."""
_SECRET = re.compile(
    r"SECRET|PASSW(?:OR)?D|PASSPHRASE|TOKENS?\d*(?:$|_)|(?:AI|API|ACCESS|PRIVATE|MASTER|ENCRYPTION)KEY|_PWD$"
    r"|(?:^|_)(?:PASS|KEYS?|AUTH|AUTHORIZATION|BEARER|CREDENTIALS?|CREDS|JWT|COOKIES?|DSN|WEBHOOKS?|CONN(?:ECTION)?_?STR(?:ING)?)(?:$|_)"
    r"|(?:^|_)(?:PATS?|SAS)$"
)
_OPENS = re.compile(
    # An address with a user and a password, as the variables for a proxy may have, and that of a webhook, which is a password itself.
    r"//[^/\s]*@|//hooks\.slack\.com/|//(?:\w+\.)?discord(?:app)?\.com/api/webhooks/"
    # The text that connects to a database or to storage.
    r"|(?:^|;)\s*(?:Password|Pwd|AccountKey|SharedAccess\w+)\s*="
    # Tokens by their prefixes: Hugging Face, GitHub, GitLab, RunPod, OpenAI, Slack, Amazon.
    r"|^(?:hf_|gh[pousr]_|github_pat_|glpat-|rpa_|sk-|xox[abprs]-|A(?:KI|SI)A)[\w-]{16,}$",
    re.IGNORECASE,
)
"""Values that open something, whatever the name of their variable is."""
_PLACES = ("HF_TOKEN_PATH", "TOKENIZERS_PARALLELISM")


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks as if it opened something: by its name, or by its value, such as an address with a password."""
    is_named = name.upper() not in _PLACES and bool(_SECRET.search(name.upper()))
    return is_named or bool(_OPENS.search(value))


def child_environment(
    extra: Optional[Mapping[str, str]] = None, base: Optional[Mapping[str, str]] = None
) -> Dict[str, str]:
    """A copy of `base` (by default this process's environment) for an engine or another program, plus `extra`.

    Variables that break another interpreter and secrets are left out. A program that needs a secret is given it in `extra`. Libraries are
    told to report nothing about their use; a value of the user's stays.
    """
    kept = {name: value for name, value in full_environment(base=base).items() if not is_secret(name, value)}
    kept.update(extra or {})
    return kept


def full_environment(
    extra: Optional[Mapping[str, str]] = None, base: Optional[Mapping[str, str]] = None
) -> Dict[str, str]:
    """The same with the secrets: for Easel itself in another interpreter, and for git and uv, which fetch with them."""
    base = os.environ if base is None else base
    kept = {
        name: value for name, value in base.items() if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }
    return {**_NOTHING_SENT, **kept, **(extra or {})}
