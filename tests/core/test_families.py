"""Each family matches its own models in every layout, prefix and dtype, and no models of other families.

EASEL_FUZZ=10000 tries that many mutated and random headers in all; without it a few hundred.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import recorded_models
from tests.support.recorded_models import bare, facts, recorded
from trainer_core import catalog, places
from trainer_core.engines import registry
from trainer_core.errors import AmbiguousModelError
from trainer_core.models.detection import Detection, detect
from trainer_core.models.families import PREFIXES, Denoiser, ModelFamily, Signature, load_families
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.library.companions import parts_for
from trainer_core.prepare import companions

pytestmark = pytest.mark.timeout(3600 if "EASEL_FUZZ" in os.environ else 600)
TESTS = 4
EXAMPLES = int(os.environ.get("EASEL_FUZZ", "240")) // TESTS
NAMES = recorded_models.names()
BARE = tuple(name for name in NAMES if bare(name))
TRAINED = tuple(name for name in BARE if recorded_models.trained(name))


def matching(found: Header) -> list[tuple[str, Signature]]:
    """Every signature of every family that matches a header."""
    denoiser = Denoiser.of(found)
    every = ((family.id, signature) for family in load_families().values() for signature in family.signatures)
    return [(name, signature) for name, signature in every if all(holds for holds, _ in signature.check(denoiser))]


@pytest.mark.parametrize("name", NAMES)
def test_each_recorded_model_matches_one_family_and_variant(name: str) -> None:
    family, variant, _ = facts(name)
    found = detect(recorded(name))
    assert found.family == family
    assert found.variant == variant or not variant
    assert [kind for kind, _ in matching(recorded(name))] == [family]


@pytest.mark.parametrize("name", BARE)
def test_a_bare_diffusion_model_is_detected_with_every_prefix_and_in_any_order(name: str) -> None:
    families = list(load_families().items())
    alone = bare(name)
    assert alone
    for prefix in PREFIXES if recorded_models.trained(name) else PREFIXES[-1:]:
        random.Random(name + prefix).shuffle(families)
        found = detect(recorded_models.prefixed(alone, prefix), dict(families))
        assert (found.family, found.role, found.prefix) == (facts(name)[0], "diffusion_model", prefix)


@pytest.mark.parametrize("name", TRAINED)
def test_a_model_is_detected_in_every_dtype_and_with_its_parts(name: str) -> None:
    alone = bare(name)
    assert alone
    wanted = detect(alone)
    for way, found in recorded_models.formats(alone):
        seen = detect(found)
        assert (seen.family, seen.variant) == (wanted.family, wanted.variant), way
    seen = detect(recorded_models.whole(alone))
    assert (seen.family, seen.variant, seen.role) == (wanted.family, wanted.variant, "checkpoint")


def test_a_signature_is_proved_exactly_when_a_recorded_header_matches_it() -> None:
    seen: set[int] = set()
    for name in NAMES:
        if facts(name)[2]:
            held = [recorded(name), *([alone] if (alone := bare(name)) else [])]
            seen |= {id(signature) for found in held for _, signature in matching(found)}
    # Cosmos Predict2 is Anima without its adapter.
    cosmos = {key: info for key, info in recorded("anima").tensors.items() if "llm_adapter" not in key}
    seen |= {id(signature) for _, signature in matching(dataclasses.replace(recorded("anima"), tensors=cosmos))}
    for family in load_families().values():
        for signature in family.signatures:
            where = f"{family.id} {signature.variant} {signature.layout}"
            assert bool(signature.proved) == (id(signature) in seen), where


def test_every_family_that_is_trained_is_recorded_as_a_file_and_as_a_folder() -> None:
    layouts = {(family, signature.is_pipeline) for name in NAMES for family, signature in matching(recorded(name))}
    layouts |= {(facts(name)[0], False) for name in TRAINED}
    trained = {family.id for family in load_families().values() if not family.is_only_recognised}
    assert {(family, is_folder) for family in trained for is_folder in (True, False)} <= layouts


def test_the_parts_of_families_are_in_the_catalogue() -> None:
    known = catalog.parts()
    for family in load_families().values():
        for variant in ("", *family.variants):
            for setting, kinds in family.parts_of(variant).items():
                roles = {known[kind].role for kind in kinds}
                assert roles == {"vae" if setting == "vae" else "text_encoder"}, (family.id, setting)
                assert set(kinds) <= set(family.parts[setting]), (family.id, variant)
        assert family.is_only_recognised or "vae" in family.parts


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("flux2-dev", ["mistral", "vae"]),
        ("flux2-klein-9b", ["qwen", "vae"]),
        ("flux2-klein-4b", ["qwen", "vae"]),
    ],
)
def test_a_variant_that_needs_other_files_names_only_those(name: str, missing: list[str]) -> None:
    found = detect(recorded(name))
    assert list(companions.needed(found)) == missing
    assert [part.setting for part in parts_for((), found).missing] == missing
    titles = {"dev": "Mistral Small 3 24B", "klein-9b": "Qwen3 8B", "klein-4b": "Qwen3 4B"}
    assert parts_for((), found).missing[0].title == titles[found.variant]


def test_the_refiner_needs_one_text_encoder_and_radiance_no_vae() -> None:
    assert companions.needed(Detection("sdxl", "diffusion_model", "refiner")) == ("clip_g", "vae")
    assert companions.needed(Detection("chroma", "diffusion_model", "radiance", apart="not trained")) == ("t5xxl",)


def test_variants_that_cannot_be_trained_like_the_family_give_a_sentence() -> None:
    for family in load_families().values():
        usual = [signature for signature in family.signatures if not signature.apart]
        assert usual, family.id
        for signature in family.signatures:
            if signature.apart:
                assert signature.variant
                assert signature.title
                assert signature.apart[0].isupper()
                assert signature.apart.endswith(".")
                assert signature.variant not in {other.variant for other in usual}, (family.id, signature.variant)


def altered(alone: Header, signature: Signature) -> Iterator[tuple[str, dict[str, TensorInfo]]]:
    """The tensors of a model with one block less or more, one module less or more, and with twice the width."""
    tensors = dict(alone.tensors)
    for module in {key.partition(".")[0] for key in tensors} - set(signature.may):
        yield f"without {module}", {key: info for key, info in tensors.items() if key.partition(".")[0] != module}
        numbers = {
            int(words[1])
            for key in tensors
            if (words := key.split("."))[0] == module and words[1:2] and words[1].isdigit()
        }
        if numbers and ("blocks" in module or module.endswith("layers")):
            last, after = f"{module}.{max(numbers)}.", f"{module}.{max(numbers) + 1}."
            yield f"without {last}", {key: info for key, info in tensors.items() if not key.startswith(last)}
            more = {after + key.removeprefix(last): info for key, info in tensors.items() if key.startswith(last)}
            yield f"with {after}", tensors | more
    yield "an adapter", tensors | {"adapter.0.weight": TensorInfo("F16", (4, 4))}
    yield "wide", {key: TensorInfo("F16", tuple(2 * size for size in info.shape)) for key, info in tensors.items()}


@pytest.mark.parametrize("name", TRAINED)
def test_an_altered_model_does_not_match(name: str) -> None:
    alone = bare(name)
    assert alone
    _, signature = met(name)
    for way, tensors in altered(alone, signature):
        found = matching(dataclasses.replace(alone, tensors=tensors))
        # A FLUX.1 with fewer blocks is a pruned one.
        is_pruned = facts(name)[0] == "flux" and ("blocks." in way or signature.fewer)
        if is_pruned and [each.variant for _, each in found] == ["pruned"]:
            assert all(each.apart for _, each in found)
        # Without its guidance dev has the layout of schnell; without its adapter Anima is a Cosmos.
        elif (signature.variant, way) != ("dev", "without guidance_in") and way != "without llm_adapter":
            assert not found, way


@pytest.mark.parametrize("name", ["flux-dev", "flux-lite-diffusers"])
def test_a_flux_with_a_gap_in_its_blocks_is_no_pruned_flux(name: str) -> None:
    alone = bare(name)
    assert alone
    start = "double_blocks.3." if name == "flux-dev" else "transformer_blocks.3."
    tensors = {key: info for key, info in alone.tensors.items() if not key.startswith(start)}
    assert not matching(dataclasses.replace(alone, tensors=tensors))


@functools.cache
def met(name: str) -> tuple[str, Signature]:
    """The family and the signature that the diffusion model of a recorded header meets."""
    alone = bare(name)
    assert alone
    return matching(alone)[0]


def asked(signature: Signature) -> list[str]:
    return [*signature.present, *signature.shapes]


@st.composite
def broken(draw: st.DrawFn) -> tuple[Header, str, Signature]:
    """A model one of whose deciding tensors is gone, renamed or of another shape; its family; the signature it met."""
    name = draw(st.sampled_from(TRAINED))
    alone = bare(name)
    assert alone
    family, signature = met(name)
    prefix = draw(st.sampled_from(PREFIXES))
    tensors = {prefix + key: info for key, info in alone.tensors.items()}
    key = draw(st.sampled_from(asked(signature)))
    wanted = signature.shapes.get(key)
    old = tensors.pop(prefix + key)
    if wanted is not None and draw(st.booleans()):
        sizes = draw(st.lists(st.integers(0, 2**20), max_size=5).filter(lambda sizes: not fits(sizes, wanted)))
        tensors[prefix + key] = TensorInfo(old.dtype, tuple(sizes))
    elif draw(st.booleans()):
        tensors[prefix + key + draw(st.text("abc.", min_size=1, max_size=4))] = old
    return dataclasses.replace(alone, tensors=tensors), family, signature


def fits(sizes: list[int], wanted: Any) -> bool:
    return len(sizes) == len(wanted) and all(want in ("*", size) for size, want in zip(sizes, wanted, strict=True))


@given(broken())
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_a_model_without_a_deciding_tensor_does_not_match(case: tuple[Header, str, Signature]) -> None:
    found, family, signature = case
    seen = detect(found)
    assert seen.family in (None, family)
    assert seen.family is None or (seen.variant, seen.layout) != (signature.variant, signature.layout)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Header, str]:
    """A recorded model with some tensors dropped, renamed, resized or added, and its family."""
    name = draw(st.sampled_from(NAMES))
    found = recorded(name)
    tensors = dict(found.tensors)
    keys = list(tensors)
    others = list(recorded(draw(st.sampled_from(NAMES))).tensors.items())
    for _ in range(draw(st.integers(1, 6))):
        key = keys[draw(st.integers(0, len(keys) - 1))]
        way = draw(st.sampled_from(["drop", "rename", "resize", "stack", "foreign"]))
        info = tensors.pop(key, None)
        if way == "rename" and info:
            tensors[key.replace(".", draw(st.sampled_from(["", "..", "_", "."])), 1)] = info
        elif way == "resize" and info:
            shape = tuple(draw(st.lists(st.integers(0, 2**40), max_size=5)))
            tensors[key] = TensorInfo(draw(st.sampled_from(["F16", "U8", "Q4_K"])), shape)
        elif way == "stack":
            first = key.partition(".")[0] + "."
            tensors = {kept: info for kept, info in tensors.items() if not kept.startswith(first)}
        elif way == "foreign":
            start = draw(st.integers(0, len(others) - 1))
            tensors |= dict(others[start : start + 40])
    return dataclasses.replace(found, tensors=tensors), facts(name)[0]


@given(mutated())
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_a_mutated_model_matches_its_family_or_none(case: tuple[Header, str]) -> None:
    found, family = case
    seen = detect(found)
    assert seen.family in (None, family)
    assert seen.evidence
    assert len(matching(found)) == (seen.family is not None)


@given(st.sampled_from(BARE), st.sampled_from(BARE), st.sampled_from(PREFIXES), st.sampled_from(PREFIXES))
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_a_file_with_two_models_matches_neither(one: str, other: str, first: str, second: str) -> None:
    alone, beside = bare(one), bare(other)
    assert alone
    assert beside
    whole = [
        dict(recorded_models.prefixed(each, prefix).tensors) for each, prefix in ((alone, first), (beside, second))
    ]
    tensors = whole[0] | whole[1]
    if facts(one)[0] == facts(other)[0] or tensors in whole:
        return  # of one family, or nothing of one of them is left
    with contextlib.suppress(AmbiguousModelError):
        assert detect(dataclasses.replace(alone, tensors=tensors)).family is None


# Models whose names are nearly all names of the other: what the one lacks is asked for.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sd2", "sdxl"),
        ("sdxl", "sd2"),
        ("lumina2", "z-image"),
        ("folder-chroma", "folder-flux-dev"),
        ("folder-dreamlite", "folder-sd15"),
        ("folder-dreamlite", "unet-sdxl-diffusers"),
        ("folder-flux-dev", "folder-hunyuan-video"),
        ("folder-ltx2", "folder-ltx-video"),
        ("folder-mochi", "folder-cosmos-predict2"),
        ("folder-nucleus-image", "folder-qwen-image"),
        ("folder-pixart-alpha", "folder-allegro"),
        ("folder-sd15", "folder-sdxl-refiner"),
        ("folder-sdxl", "folder-kolors"),
        ("folder-stable-video", "folder-sd15"),
    ],
)
def test_models_with_nearly_the_same_keys_are_distinguished(one: str, other: str) -> None:
    first, second = bare(one), bare(other)
    assert first
    assert second
    tensors = {**first.tensors, **second.tensors}
    assert len(matching(dataclasses.replace(first, tensors=tensors))) == (tensors == dict(second.tensors))


@pytest.mark.parametrize("name", [name for name in NAMES if recorded(name).is_folder and recorded_models.trained(name)])
def test_a_pipeline_with_another_deciding_config_does_not_match(name: str) -> None:
    found = recorded(name)
    ((_, signature),) = matching(found)
    asked_for = [(component, key) for component, values in signature.configs.items() for key in values]
    for component, key in (*asked_for, ("", "_class_name")):
        for value in (None, "other", 7):
            configs = {**found.configs, component: {**found.configs[component], key: value}}
            held = [other for _, other in matching(dataclasses.replace(found, configs=configs))]
            assert signature not in held, (component, key, value)


keys = st.sampled_from(
    sorted({key for family in load_families().values() for each in family.signatures for key in asked(each)})
)


@given(st.dictionaries(keys | st.text(max_size=12), st.lists(st.integers(0, 8192), max_size=4), max_size=40))
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_random_tensors_match_at_most_one_valid_signature(tensors: dict[str, list[int]]) -> None:
    found = Header(
        recorded("sdxl").path, {key: TensorInfo("F16", tuple(shape)) for key, shape in tensors.items()}, {}, "pickle"
    )
    try:
        seen = detect(found)
    except AmbiguousModelError:
        assert len(matching(found)) > 1
    else:
        assert [family for family, _ in matching(found)] == ([seen.family] if seen.family else [])


GUIDE = places.CHECKOUT / "docs" / "families.md"


def tables() -> str:
    """The tables of families in docs/families.md, made from the data."""
    engines = registry.available()
    lines = ["| id | title | variants | layouts | companion files | trained by |", "|---|---|---|---|---|---|"]
    families = load_families().values()
    for family in families:
        if not family.is_only_recognised:
            claimed = [each.manifest.title for each in engines if family.id in each.manifest.families]
            beside = [f"`{name}` {files(own)}" for name, own in family.own_parts.items()]
            if not family.variants or set(family.own_parts) != set(family.variants):
                beside.insert(0, files(family.parts))
            cells = (f"`{family.id}`", family.title, variants(family), layouts(family), ". ".join(beside))
            lines.append(f"| {' | '.join(cells)} | {', '.join(claimed) or 'none'} |")
    lines += ["", "| id | title | layouts |", "|---|---|---|"]
    for family in families:
        if family.is_only_recognised:
            lines.append(f"| `{family.id}` | {family.title} | {layouts(family)} |")
    return "\n".join(lines) + "\n"


def files(parts: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{setting}: {' or '.join(kinds)}" for setting, kinds in parts.items())


def variants(family: ModelFamily) -> str:
    apart = {signature.variant for signature in family.signatures if signature.apart}
    usual = [name for name in family.variants if name not in apart]
    return "; ".join(filter(None, (", ".join(usual), f"apart: {', '.join(sorted(apart))}" if apart else "")))


def layouts(family: ModelFamily) -> str:
    """Each layout, followed by its variants that are not proved."""
    cells = []
    for layout in dict.fromkeys(signature.layout for signature in family.signatures):
        own = [signature for signature in family.signatures if signature.layout == layout]
        unproved = [signature.variant for signature in own if not signature.proved]
        which = "" if len(unproved) == len(own) else f" {', '.join(unproved)}"
        cells.append(f"{layout}{f' (unproved{which})' if unproved else ''}")
    return "; ".join(cells)


def test_the_tables_of_the_guide_match_the_families() -> None:
    between = re.compile(r"(?<=<!-- families -->\n).*?(?=<!-- /families -->)", re.DOTALL)
    text = GUIDE.read_text("utf-8")
    if os.environ.get("EASEL_GOLDEN") == "write":
        text = between.sub(lambda _: tables(), text)
        GUIDE.write_text(text, "utf-8")
    found = between.search(text)
    assert found
    assert found[0] == tables()
