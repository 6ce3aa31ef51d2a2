"""Writes docs/drills.md: the fault drills, one test each, with the sentences that each test expects to be read.

python scripts/record_drills.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "drills.md"
HEAD = """# Fault drills

Each row is a test with real processes: it causes the fault, and then checks that nothing is lost. What is lost in each of them:
nothing but the steps since the last saved state, where the fault ends the engine itself. The last column has the sentences or
words that the test expects a person to read; where it is empty, the job simply goes on or completes.

`python scripts/record_drills.py` writes this table; a test compares it with the drills.
"""
WORDS = 3
"""A text of at least so many words is a sentence that somebody reads."""


def drills(path: Path) -> Iterator[tuple[str, str]]:
    """What happens in each drill of a file, and the sentences that it expects."""
    for found in ast.parse(path.read_text("utf-8")).body:
        if isinstance(found, ast.FunctionDef) and found.name.startswith("test_"):
            yield found.name.removeprefix("test_").replace("_", " "), "; ".join(dict.fromkeys(_sentences(found)))


def _sentences(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        expected: list[ast.expr] = []
        if isinstance(node, ast.Assert):
            expected = [node.test]
        elif isinstance(node, ast.Call):
            expected = [keyword.value for keyword in node.keywords if keyword.arg == "match"]
        for part in expected:
            refused = [
                each for each in ast.walk(part) if isinstance(each, ast.Compare) and isinstance(each.ops[0], ast.NotIn)
            ]
            left_out = {id(constant) for each in refused for constant in ast.walk(each)}
            for constant in (each for each in ast.walk(part) if id(each) not in left_out):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                    text = " ".join(constant.value.split())
                    if len(text.split()) >= WORDS:
                        yield text.replace("|", "\\|")


def table() -> str:
    """The content of docs/drills.md."""
    parts = [HEAD]
    for path in sorted((ROOT / "tests" / "core").glob("test_drills_*.py")):
        title = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]
        rows = list(drills(path))
        parts.append(f"\n## {title}\n`{path.relative_to(ROOT).as_posix()}`, {len(rows)} drills\n")
        parts.append("| what happens | what is read |\n|---|---|")
        parts += [f"| {what} | {read} |" for what, read in rows]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
