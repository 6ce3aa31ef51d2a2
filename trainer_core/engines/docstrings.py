"""The descriptions of a class's arguments, read from the source code of an installed engine without running it.

The texts belong to the packages, so Easel ships none of them. Read are the three usual notations of a docstring:
`name (float): text`, `:param name: text`, and a name on a line of its own with the text below.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

LARGEST_BYTES = 4 * 1024**2
LONGEST = 600
"""Characters of a description that are kept."""
PACKAGES = "venv/lib/python3*/site-packages"
_PARAM = re.compile(r"^\s*:param\s+(?:\w+\s+)?(?P<name>\w+):\s*(?P<text>.*)$")
_NAMED = re.compile(
    r"^(?P<space>\s*)[`*]*(?P<name>[A-Za-z_]\w*)[`*]*\s*(?:\([^)]*(?:\([^)]*\)[^)]*)*\))?\s*:(?!:)\s*(?P<text>.*)$"
)
_HEADING = re.compile(r"^\s*[A-Z][A-Za-z ]*:\s*$")
_TYPE = re.compile(r"^(?:[A-Za-z]\w*(?:\[[^\]]*\])?\.\s+|`[^`]*`[^.]*$)")


def arguments_of(folder: Path, file: str, name: str) -> Mapping[str, str]:
    """{argument: its description} of a class `name` in a file of the packages of the engine in `folder`; {} if it has none."""
    path = next(iter(sorted(folder.glob(f"{PACKAGES}/{file}"))), None)
    if path is None or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return {}
    return _of_file(path, name, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _of_file(path: Path, name: str, _written: int) -> Mapping[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text("utf-8", errors="replace"))
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            makers = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
            for each in (node, *makers):
                found |= described(ast.get_docstring(each) or "")
    return found


def described(text: str) -> dict[str, str]:
    """{argument: its description} in a docstring."""
    found: dict[str, str] = {}
    current, depth = "", 0
    for line in text.splitlines():
        if _HEADING.match(line):
            current = ""
            continue
        match = _PARAM.match(line) or _NAMED.match(line)
        indent = len(line) - len(line.lstrip())
        if match and (not current or indent <= depth or line.lstrip().startswith(":param")):
            current, depth = match["name"], indent
            found[current] = match["text"].strip()
        elif current and line.strip() and (indent > depth or line.lstrip()[:1] != ":"):
            found[current] = f"{found[current]} {line.strip()}".strip()
        elif not line.strip():
            continue
        else:
            current = ""
    cleaned = {name: _TYPE.sub("", " ".join(said.split())).strip() for name, said in found.items()}
    return {name: said if len(said) <= LONGEST else said[:LONGEST] + "…" for name, said in cleaned.items() if said}
