"""What follows from Easel's published address: the button "Open in Colab", the clone commands, what the notebooks of platforms bring.

The address is `Repository` of [project.urls] in pyproject.toml. EASEL_GOLDEN=write writes what follows from it. Without an address
nothing names one.
"""

from __future__ import annotations

import json
import os
import re
import tomllib

import pytest

from trainer_core import places

ROOT = places.CHECKOUT
GUIDES = ("docs/guide/providers.md", "README.md")
CLONES = ("README.md", "docs/guide/first-lora.md")
NOTEBOOKS = ("notebooks/Easel_on_Colab.ipynb", "notebooks/Easel_on_Kaggle.ipynb")
BETWEEN = re.compile(r"(?<=<!-- colab -->\n).*?(?=<!-- /colab -->)", re.DOTALL)
CLONE = re.compile(r"git clone (?:<this repository>|https://\S+) easel && cd easel")
FROM = re.compile(r'(?<=easel_from = )\\"[^"\\]*\\"')
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
STEPS = """\
1. `git archive -o easel.zip HEAD` in the folder of Easel packs its code.
2. Upload `notebooks/Easel_on_Colab.ipynb` at [colab.research.google.com](https://colab.research.google.com) (File > Upload notebook), and
   choose a GPU (Runtime > Change runtime type).
3. Upload `easel.zip` to the files of the session (the folder icon on the left) or to Google Drive, or enter the git address of your own
   copy in `easel_from`. Run the cell.
"""
WITHOUT = f"{STEPS}\nEasel has no published address yet, so there is no button that opens it in Colab.\n"
WITH = """\
[![Open Easel in Colab]({badge})](https://colab.research.google.com/github/{path}/blob/main/notebooks/Easel_on_Colab.ipynb)

The button opens `Easel_on_Colab`. Choose a GPU there (Runtime > Change runtime type) and run the cell.
"""


def published(pyproject: str) -> str:
    """The address, or ""."""
    return (
        tomllib.loads(pyproject)["project"].get("urls", {}).get("Repository", "").removesuffix("/").removesuffix(".git")
    )


def ways_to_colab(address: str) -> str:
    """How Easel is opened in Colab, which opens notebooks by their address only from GitHub."""
    at, _, path = address.partition("https://github.com/")
    if path and not at:
        return WITH.format(badge=BADGE, path=path)
    return STEPS if address else WITHOUT


def following(name: str, text: str, address: str) -> str:
    """The text of a file as it follows from the address."""
    if name in GUIDES:
        text = BETWEEN.sub(lambda _: ways_to_colab(address), text)
    if name in CLONES:
        text = CLONE.sub(f"git clone {address or '<this repository>'} easel && cd easel", text)
    return FROM.sub(lambda _: json.dumps(json.dumps(address))[1:-1], text) if name in NOTEBOOKS else text


def texts() -> dict[str, str]:
    """The files that name the address."""
    return {name: (ROOT / name).read_text("utf-8") for name in {*GUIDES, *CLONES, *NOTEBOOKS}}


def test_every_place_follows_from_the_address_in_pyproject():
    address = published((ROOT / "pyproject.toml").read_text("utf-8"))
    if os.environ.get("EASEL_GOLDEN") == "write":
        for name, text in texts().items():
            (ROOT / name).write_text(following(name, text, address), "utf-8")
    for name, text in texts().items():
        assert text == following(name, text, address), f"{name}: EASEL_GOLDEN=write writes it"


def test_an_address_gives_a_button_with_a_name_and_a_notebook_that_brings_easel():
    address = published('[project]\nname = "easel"\n[project.urls]\nRepository = "https://github.com/mika/easel.git"\n')
    written = {name: following(name, text, address) for name, text in texts().items()}
    for name in GUIDES:
        assert "[![Open Easel in Colab](" in written[name]
        assert (
            "(https://colab.research.google.com/github/mika/easel/blob/main/notebooks/Easel_on_Colab.ipynb)"
            in written[name]
        )
        assert "no published address" not in written[name]
    for name in CLONES:
        assert "git clone https://github.com/mika/easel easel && cd easel" in written[name]
    for name in NOTEBOOKS:
        source = "".join(json.loads(written[name])["cells"][1]["source"])
        assert '\neasel_from = "https://github.com/mika/easel"  # @param {type:"string"}\n' in source
    for name, text in written.items():
        assert following(name, text, "") == following(name, texts()[name], ""), "it can be taken back"


@pytest.mark.parametrize("address", ["", "https://git.example.org/mika/easel"])
def test_without_an_address_on_github_there_is_no_button(address):
    assert all(BADGE not in following(name, text, address) for name, text in texts().items())
