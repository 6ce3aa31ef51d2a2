"""The tables of what can be trained, in the guide and in docs/engines.md, match the engines' manifests."""

from __future__ import annotations

import os
import re

from trainer_core import catalog, places
from trainer_core.engines import registry
from trainer_core.models.families import load_families
from trainer_core.plan import fields

METHODS = {"full": "full finetuning", "dreambooth": "DreamBooth", "textual_inversion": "textual inversion"}
GUIDE = places.CHECKOUT / "docs" / "guide" / "settings.md"
PAGE = places.CHECKOUT / "docs" / "engines.md"
MADE = re.compile(r"(?<=<!-- engines -->\n).*?(?=<!-- /engines -->)", re.DOTALL)
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


def engines_table() -> str:
    """A row for each family and engine: the methods, the form of the model, and what else differs between engines."""
    heads = ("family", "engine", "methods", "model", "masks", "held-out loss", "class images", "block swap", "resume")
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for family in load_families().values():
        for engine in registry.available():
            claim = engine.manifest.families.get(family.id)
            if claim is not None:
                lines.append(f"| {' | '.join(engine_cells(engine.manifest, family, claim))} |")
    return "\n".join(lines) + "\n"


def engine_cells(manifest, family, claim) -> tuple[str, ...]:
    cells = claim.methods
    forms = [name for name, reads in (("one file", claim.single_file), ("folder", claim.folders)) if reads]
    resume = manifest.resume
    return (
        f"{family.title} (`{family.id}`)",
        manifest.title,
        ", ".join(METHODS.get(method, "networks") for method in cells),
        " or ".join(forms),
        with_methods(cells, "masks"),
        with_methods(cells, "validation"),
        with_methods(cells, "class_images"),
        with_methods(cells, "swap"),
        "no" if resume is None else "exact" if resume.exact else "from checkpoints",
    )


def with_methods(cells, key: str) -> str:
    """Whether the engine claims this for the methods of a family: "yes", "no", or for which of them."""
    limits = [field.about.methods for field in fields.all_fields().values() if field.about.claim == key]
    suited = {method for method in cells if any(not methods or method in methods for methods in limits or [()])}
    able = [
        METHODS.get(method, "networks") for method, cell in cells.items() if getattr(cell, key) and method in suited
    ]
    return "yes" if len(able) == len(cells) else ", ".join(able) or "no"


def test_the_table_of_engines_matches_the_manifests():
    text = PAGE.read_text("utf-8")
    if os.environ.get("EASEL_GOLDEN") == "write":
        PAGE.write_text(MADE.sub(lambda _: engines_table(), text), "utf-8")
        text = PAGE.read_text("utf-8")
    found = MADE.search(text)
    assert found
    assert found[0] == engines_table()
