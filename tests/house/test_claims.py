"""The guide's table of what can be trained matches the engines' manifests."""

from __future__ import annotations

import os
import re

from trainer_core import catalog, places
from trainer_core.engines import registry
from trainer_core.models.families import load_families

METHODS = {"full": "full finetuning", "dreambooth": "DreamBooth", "textual_inversion": "textual inversion"}
GUIDE = places.CHECKOUT / "docs" / "guide" / "settings.md"
BETWEEN = re.compile(r"(?<=<!-- claims -->\n).*?(?=<!-- /claims -->)", re.DOTALL)


def table() -> str:
    engines = registry.available()
    lines = [
        f"| family | {' | '.join(engine.manifest.title for engine in engines)} |",
        f"|---|{'---|' * len(engines)}",
    ]
    named = {name for engine in engines for name in (*engine.manifest.families, *engine.manifest.refused)}
    for family in (family for family in load_families().values() if family.id in named):
        if not any(family.id in {*engine.manifest.families, *engine.manifest.refused} for engine in engines):
            continue  # recognised, but no engine mentions it: docs/families.md lists it
        cells = [cell(engine.manifest, family.id) for engine in engines]
        lines.append(f"| {family.title} (`{family.id}`) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(manifest, family: str) -> str:
    claim = manifest.families.get(family)
    if claim is None:
        return f"no: {manifest.refused[family]}" if family in manifest.refused else "no"
    others = [METHODS[method] for method in claim.methods if method != "lora"]
    networks = ", ".join(catalog.algorithms()[name].title for name in claim.algorithms if "lora" in claim.methods)
    return "; ".join(part for part in (networks, *(f"**{method}**" for method in others)) if part)


def test_the_table_in_the_guide_matches_the_manifests():
    text = GUIDE.read_text("utf-8")
    if os.environ.get("EASEL_GOLDEN") == "write":
        GUIDE.write_text(BETWEEN.sub(lambda _: table(), text), "utf-8")
        text = GUIDE.read_text("utf-8")
    found = BETWEEN.search(text)
    assert found
    assert found[0] == table()
