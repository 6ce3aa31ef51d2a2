"""The guides that ship with Easel (`docs/guide/*.md`), read into blocks that a page can show without any markup of its own."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from trainer_core import places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Block = dict[str, Any]
"""`kind` ("h", "p", "ul", "ol", "table", "code", "image") and what it has: `runs`, `items`, `rows`, `text`, `src`; a heading `level` and `id`."""
Run = list[str]
"""A piece of a line: its look ("", "b", "i", "code", "a"), its text, and for a link its target."""

IMAGE_BYTES = 400_000
"""A larger image is left out: each goes to the page as a whole."""
_RUNS = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<b>.+?)\*\*|\[(?P<a>[^\]]+)\]\((?P<to>[^)\s]+)\)|(?<!\w)\*(?P<i>[^*\s][^*]*)\*(?!\w)"
)
_ITEM = re.compile(r"(?P<sign>[*-]|\d+\.) +(?P<text>.*)")
_IMAGE = re.compile(r"!\[(?P<text>[^\]]*)\]\((?P<to>[^)\s]+)\)$")
_HEADING = re.compile(r"(?P<signs>#{1,6}) +(?P<text>.*)")


def names() -> list[str]:
    """The names of the guides, without their ending."""
    return sorted(file.stem for file in folder().glob("*.md"))


def folder() -> Path:
    """The folder of the guides, in the checkout or in the installed package."""
    return places.resource("docs") / "guide"


def read(name: str) -> list[Block]:
    """The blocks of one guide; none if there is no guide with this name."""
    if name not in names():
        return []
    return list(_blocks((folder() / f"{name}.md").read_text(encoding="utf-8").splitlines()))


def title(name: str) -> str:
    """The title of a guide: its first heading."""
    with (folder() / f"{name}.md").open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _blocks(lines: list[str]) -> Iterator[Block]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            at += 1
        elif line.startswith("```"):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("```")), len(lines))
            yield {"kind": "code", "text": "\n".join(lines[at + 1 : end])}
            at = end + 1
        elif line.startswith("    "):
            end = _until(lines, at, lambda one: not one.startswith("    "))
            yield {"kind": "code", "text": "\n".join(one[4:] for one in lines[at:end])}
            at = end
        elif found := _HEADING.match(line):
            text = "".join(part[1] for part in runs(found["text"]))
            yield {"kind": "h", "level": len(found["signs"]), "id": slug(text), "runs": runs(found["text"])}
            at += 1
        elif line.startswith("|"):
            end = _until(lines, at, lambda one: not one.startswith("|"))
            yield {"kind": "table", "rows": [_cells(one) for one in lines[at:end] if not set(one) <= set("|-: ")]}
            at = end
        elif _ITEM.match(line):
            end = _until(lines, at, lambda one: not (_ITEM.match(one) or one.startswith("  ")))
            yield _items(lines[at:end])
            at = end
        else:
            end = _until(lines, at + 1, _begins_block)
            yield _paragraph(" ".join(one.strip() for one in lines[at:end]))
            at = end


def _until(lines: list[str], at: int, is_end: Any) -> int:
    """The first line from `at` on that is none of this block any more."""
    return next((i for i in range(at, len(lines)) if not lines[i].strip() or is_end(lines[i])), len(lines))


def _begins_block(line: str) -> bool:
    return line.startswith(("|", "```", "#")) or _ITEM.match(line) is not None


def _paragraph(text: str) -> Block:
    if found := _IMAGE.match(text):
        return {"kind": "image", "text": found["text"], "src": _image(found["to"])}
    return {"kind": "p", "runs": runs(text)}


def _items(lines: list[str]) -> Block:
    items: list[str] = []
    for line in lines:
        if found := _ITEM.match(line):
            items.append(found["text"])
        else:
            items[-1] += f" {line.strip()}"
    is_counted = lines[0][0].isdigit()
    return {"kind": "ol" if is_counted else "ul", "items": [runs(item) for item in items]}


def _cells(line: str) -> list[list[Run]]:
    return [runs(cell.strip()) for cell in line.strip().strip("|").split("|")]


def runs(text: str) -> list[Run]:
    """A line in pieces."""
    found: list[Run] = []
    at = 0
    for match in _RUNS.finditer(text):
        if match.start() > at:
            found.append(["", text[at : match.start()]])
        look = str(match.lastgroup) if match.lastgroup != "to" else "a"
        found.append([look, match[look], *([match["to"]] if look == "a" else [])])
        at = match.end()
    return [*found, ["", text[at:]]] if at < len(text) else found


def _image(path: str) -> str:
    """An image of the guides as an address that contains it, because a page cannot read files; "" if it cannot be shown."""
    file = folder() / path
    if file.suffix != ".png" or places.real(file).parent != places.real(folder().parent / "images"):
        return ""
    try:
        content = file.read_bytes()
    except OSError:
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}" if len(content) <= IMAGE_BYTES else ""
