"""The style sheets: every class in them is one that the notebooks give to an element."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHEETS = [*sorted((ROOT / "themes").rglob("*.css")), *sorted((ROOT / "trainer_ui" / "components").glob("*.css"))]
CODE = "\n".join(
    path.read_text(encoding="utf-8") for end in ("py", "js") for path in sorted((ROOT / "trainer_ui").rglob(f"*.{end}"))
)
MADE = tuple(re.findall(r"easel-(?:[a-z]+-)*(?=\$?\{)", CODE))
"""The beginnings of classes whose end is a value, as `easel-mark-${shape}`; the words of Paragraph are such ends."""
WORDS = frozenset(word for found in re.findall(r"[\"'`]([a-z][\w-]*)[\"'`]|\b([a-z]\w*):", CODE) for word in found) | {
    path.stem for path in (ROOT / "themes").glob("*.css")
}
"""Every word that a class can end with: texts, the names in a table, and those of the themes."""


def is_given(name: str) -> bool:
    """Whether the code names a class, or makes it from a beginning and a word that it names."""
    if re.search(rf"{re.escape(name)}(?![\w-])", CODE):
        return True
    return any(name.startswith(begin) and name.removeprefix(begin) in WORDS for begin in MADE)


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.relative_to(ROOT).as_posix())
def test_every_class_of_a_style_sheet_is_given_to_an_element(sheet):
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = sorted({name for name in re.findall(r"\.(easel-[\w-]+)", text) if not is_given(name)})
    assert not dead, "no Python or JavaScript of the notebooks gives these classes to an element"
