"""The guides are read into blocks, and every link and image in them leads somewhere."""

import re

import pytest

from trainer_ui import guides
from trainer_ui.apps.finetuning_trainer import FinetuningTrainer
from trainer_ui.apps.lora_trainer import LoraTrainer


def headings(name):
    return [block["id"] for block in guides.read(name) if block["kind"] == "h"]


def lines(block):
    """Every line of a block, as its pieces."""
    if block["kind"] == "table":
        return [cell for row in block["rows"] for cell in row]
    return block.get("items") or ([block["runs"]] if "runs" in block else [])


@pytest.mark.parametrize("name", guides.names())
def test_every_guide_is_read_and_its_links_and_images_lead_somewhere(name):
    blocks = guides.read(name)
    assert blocks[0]["kind"] == "h"
    assert blocks[0]["level"] == 1
    assert guides.title(name) == "".join(piece[1] for piece in blocks[0]["runs"])
    assert len(headings(name)) == len(set(headings(name)))
    for block in blocks:
        if block["kind"] == "image":
            assert block["src"].startswith("data:image/png;base64,"), block["text"]
            assert block["text"]
        for line in lines(block):
            for look, text, *to in line:
                assert look in {"", "b", "i", "code", "a"}
                if look in {"", "b", "i"}:
                    assert not re.search(r"\*\*|\]\(", text), f"markup is left over in {text!r}"
                if look == "a" and not to[0].startswith(("https://", "../")):
                    page, _, section = to[0].partition("#")
                    page = page.removesuffix(".md") or name
                    assert page in guides.names()
                    assert not section or section in headings(page)


@pytest.mark.parametrize("app", [LoraTrainer, FinetuningTrainer])
def test_each_app_has_a_guide(app):
    assert app.guide_page in guides.names()


def test_lists_tables_code_and_headings_are_kept_apart(tmp_path, monkeypatch):
    (tmp_path / "one.md").write_text(
        "# One (`x`)\n\nA *b* and `c d`\nof [two](two.md#part).\n\n* first\n  goes on\n* **second**\n\n"
        "| a | b |\n|---|---|\n| 1 | `2` |\n\n```\n# no heading\n```\n\n    easel train\n\n![None](../images/../../x.png)\n"
    )
    monkeypatch.setattr(guides, "folder", lambda: tmp_path)
    found = guides.read("one")
    assert [block["kind"] for block in found] == ["h", "p", "ul", "table", "code", "code", "image"]
    assert found[0]["id"] == "one-x"
    assert found[1]["runs"][-2:] == [["a", "two", "two.md#part"], ["", "."]]
    assert found[2]["items"] == [[["", "first goes on"]], [["b", "second"]]]
    assert found[3]["rows"] == [[[["", "a"]], [["", "b"]]], [[["", "1"]], [["code", "2"]]]]
    assert found[4]["text"] == "# no heading"
    assert found[6]["src"] == "", "nothing outside of the folder of images is read"
    assert guides.read("../one") == []
