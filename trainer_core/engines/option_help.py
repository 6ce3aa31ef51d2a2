"""The help texts of an engine's options, read from the source code of the installed engine without running it.

The texts belong to the engine, so Easel ships none of them. `help` in the engine's `options.toml` names the files, and this
module finds in them what argparse gets: `add_argument("--name", help="…")`, also as the fields of a registry
(`ConfigField(arg_name="--name", help_text="…")`), which SimpleTuner makes its parser from.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

LARGEST_BYTES = 4 * 1024**2
"""A file with more is no source code."""
LONGEST = 1200
"""Characters of a help text that are kept."""
_TEXTS = ("help", "help_text", "tooltip")
"""The arguments with the help text, best first."""
_NAMES = ("arg_name",)
"""The arguments with the name of an option, for calls that do not pass it by position."""
# sd-scripts writes most texts in English and, after a slash, in Japanese.
_TRANSLATION = re.compile(r"\s*/\s*[^/]*?[\u3040-\u30ff\u4e00-\u9fff\uff00-\uffef].*$", re.DOTALL)


def read(folder: Path, patterns: Iterable[str], program: str = "") -> Mapping[str, str]:
    """{option: its help text} from the files in `folder` that fit these patterns; an option without a text is left out.

    If several files have an option, that of `program` is preferred, then those that begin with the same word.
    """
    prefix = program.partition("_")[0]

    def order(path: Path) -> tuple[bool, bool, Path]:
        return path.stem != program, not path.stem.startswith(prefix), path

    files = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return _merged(tuple((path, path.stat().st_mtime_ns) for path in sorted(files, key=order)))


@functools.lru_cache(maxsize=16)
def _merged(files: tuple[tuple[Path, int], ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for path, written in files:
        for name, text in _of_file(path, written).items():
            found.setdefault(name, text)
    return found


@functools.lru_cache(maxsize=512)
def _of_file(path: Path, _written: int) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, text in _calls(path):
        found.setdefault(name, text)
    return found


def _calls(path: Path) -> Iterator[tuple[str, str]]:
    """(option, help text) of each call in a file that names both."""
    if path.stat().st_size > LARGEST_BYTES:
        return
    source = path.read_text("utf-8", errors="replace")
    if not any(f"{word}=" in source for word in _TEXTS):
        return
    try:
        with warnings.catch_warnings():
            # The engine's code is not Easel's to correct.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        # Another version of Python may be needed to read it; the option is then shown without a text.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[tuple[str, str]]:
    given = {each.arg: each.value for each in call.keywords if each.arg}
    text = next((found for word in _TEXTS if word in given and (found := _text(given[word]))), "")
    if not text:
        return
    for value in [*call.args, *(given[word] for word in _NAMES if word in given)]:
        name = _text(value)
        if name.startswith("--"):
            yield name[2:].replace("-", "_"), _shown(text)


def _text(node: ast.expr) -> str:
    """The text that an expression stands for: a literal, a sum of such, or a formatted text whose values become "…"; else ""."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _text(node.left), _text(node.right)
        return left + right if left and right else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def _shown(text: str) -> str:
    """The text on one line, in English only, cut to `LONGEST` characters."""
    english = _TRANSLATION.sub("", text) or text
    line = " ".join(english.split()).replace("%%", "%")
    return line if len(line) <= LONGEST else line[:LONGEST] + "…"
