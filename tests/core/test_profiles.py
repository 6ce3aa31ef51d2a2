"""Shipped profiles: one for every use of every kind of model, a reason for each value, and engines accept them."""

import re
from dataclasses import replace

import pytest

from tests.support import engine_plans, told_variants
from trainer_core import policies, profiles
from trainer_core.datasets.scan import Dataset, DatasetImage
from trainer_core.engines import registry
from trainer_core.errors import ProfileError
from trainer_core.models.detection import guess
from trainer_core.models.families import load_families
from trainer_core.prepare.problems import problems
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import blocking
from trainer_core.profiles.checks import profile_of
from trainer_core.profiles.shelf import plain_lineage

FILE = {
    "format": 2,
    "id": "mine",
    "title": "Mine",
    "family": "sdxl",
    "method": "lora",
    "use": "style",
    "explanation": "Mine.",
}
SHIPPED = sorted(profiles.shipped_folder().glob("*/*.toml"))
USES = {"character", "style", "concept", "photorealism", "anime"}
GROUPS = {
    "sd15": ("sd15", "", ""),
    "sdxl": ("sdxl", "", ""),
    "pony": ("sdxl", "pony", ""),
    "illustrious": ("sdxl", "illustrious", ""),
    "noobai": ("sdxl", "noobai", "epsilon"),
    "noobai-vpred": ("sdxl", "noobai", "v_prediction"),
    "flux": ("flux", "", ""),
    "sd3": ("sd3", "", ""),
    "flux2": ("flux2", "", ""),
    "z-image": ("z_image", "", ""),
    "qwen-image": ("qwen_image", "", ""),
    "qwen-image21": ("qwen_image21", "", ""),
    "krea2": ("krea2", "", ""),
    "ernie-image": ("ernie_image", "", ""),
    "auraflow": ("auraflow", "", ""),
    "pony-v7": ("auraflow", "pony-v7", ""),
    "kandinsky5-image": ("kandinsky5_image", "", ""),
    "longcat-image": ("longcat_image", "", ""),
    "pixart": ("pixart", "", ""),
}
FEW_SOURCES = {"ernie-image", "auraflow", "pony-v7", "kandinsky5-image", "longcat-image", "pixart"}
"""The models for which too little is published for more than a character and a style; none is proved on real weights."""


def name(path):
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_a_shipped_profile_has_its_texts_and_a_reason_for_each_value(path):
    profile = profiles.load(path)
    assert profile.id == name(path)
    assert (profile.family, profile.lineage, profile.prediction) == GROUPS[path.parent.name]
    assert profile.format == profiles.FORMAT
    assert len(profile.explanation) <= 300
    assert profile.author
    assert profile.licence
    assert profile.tested_on or "Not tested" in profile.tested
    assert [error.message for error in profiles.uncited(profile)] == []
    cited = {cited for text in profile.reasons.values() for cited in re.findall(r"\[([a-z0-9-]+)\]", text)}
    assert cited == {source.id for source in profile.sources}, "a source that nothing cites"


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_a_profile_for_every_use(group):
    found = [profile for profile in profiles.shipped().values() if profile.id.startswith(f"{group}-")]
    made_for = [p for p in found if (p.family, p.lineage, p.prediction) == GROUPS[group]]
    wanted = {"character", "style"} if group in FEW_SOURCES else USES
    assert {profile.use for profile in made_for if profile.method == "lora"} >= wanted
    if group in FEW_SOURCES:
        assert all(profile.explanation.endswith("Not proved on real weights.") for profile in made_for)


def test_each_family_with_profiles_that_an_engine_finetunes_has_a_finetuning_profile():
    wanted = {
        family
        for engine in registry.available()
        for family, claim in engine.manifest.families.items()
        if "full" in claim.methods
    } & {family for group, (family, _, _) in GROUPS.items() if group not in FEW_SOURCES}
    assert {profile.family for profile in profiles.shipped().values() if profile.method == "full"} == wanted


CLAIMED = [
    pytest.param(profile, engine, id=f"{profile.id}-{engine.manifest.id}")
    for profile in map(profiles.load, SHIPPED)
    for engine in registry.available()
    if profile.method in getattr(engine.manifest.families.get(profile.family), "methods", ())
]


@pytest.mark.parametrize(("profile", "engine"), CLAIMED)
def test_a_shipped_profile_renders_on_each_engine_that_trains_its_family(profile, engine):
    claim = engine.manifest.families[profile.family]
    parts = {f"model.{part}": f"/models/{part}.safetensors" for part in claim.parts if part not in claim.optional_parts}
    told = told_variants.told(claim, profile.method)
    cell = claim.cell(profile.method)
    edits = (
        bool(cell.controls)
        and all(each.least for each in cell.controls.values())
        and {*cell.flavours} <= {*cell.controls}
    )
    values = {
        **parts,
        **profile.settings,
        **told,
        **({"dataset.controls": "/before"} if edits else {}),
        "model.prediction": profile.prediction,
    }
    plan = engine_plans.plan(profile.family, **{path.replace(".", "__"): value for path, value in values.items()})
    found = [
        problem for problem in engine_plans.problems(engine, plan) if problem.path not in ("model.path", "dataset.path")
    ]
    assert [problem.message for problem in blocking(found)] == []
    unread = [problem.message for problem in found if "has no effect" in problem.message]
    assert not [message for message in unread if "text encoder is not trained" not in message], "a value without effect"
    assert engine.render(plan, engine_plans.place()).steps


def test_published_mistakes_are_corrected_with_a_reason():
    rate = "optimizer.learning_rate"
    for profile in profiles.shipped().values():
        adapts = profile.settings["optimizer.name"].startswith("Prodigy")
        assert (profile.settings[rate] == 1.0) == adapts, profile.id
        is_flow = load_families()[profile.family].prediction == "flow"
        if is_flow or profile.prediction == "v_prediction":
            assert not profile.settings["schedule.noise_offset"], profile.id
        if is_flow:
            assert not profile.settings["schedule.min_snr_gamma"], profile.id
            assert profile.settings.get("network.alpha", 0) <= profile.settings.get("network.rank", 0), profile.id
    shipped = profiles.shipped()
    assert "mistake" in shipped["sdxl-style"].reasons[rate]
    assert "mistake" in shipped["pony-photorealism"].reasons[rate]
    assert "outlier" in shipped["sd3-character"].reasons[rate]
    assert "left over" in shipped["flux-character"].reasons["schedule.noise_offset"]
    assert "left over" in shipped["flux-character"].reasons["schedule.min_snr_gamma"]
    assert "all sources" in shipped["noobai-vpred-character"].reasons["schedule.noise_offset"]


def test_profiles_with_a_policy_name_an_existing_one():
    named = {profile.id: profile.policy for profile in profiles.shipped().values() if profile.policy}
    assert named == {
        "flux-character": "flux-guide",
        "flux-photorealism": "actor",
        "flux-style": "style",
        "flux-style-with-care": "style-002",
    }
    assert set(named.values()) <= set(policies.shipped())


@pytest.mark.parametrize(
    ("guessed", "prediction", "group"),
    [
        ("noobai", "v_prediction", "noobai-vpred"),
        ("noobai_vpred", "", "noobai-vpred"),
        ("noobai", "epsilon", "noobai"),
        ("pony", "epsilon", "pony"),
        ("illustrious", "", "illustrious"),
        ("sdxl_base", "epsilon", "sdxl"),
    ],
)
def test_profiles_of_the_guessed_lineage_come_first_and_finetuning_last(guessed, prediction, group):
    ids = [profile.id for profile in profiles.for_family("sdxl", guessed, prediction)]
    assert {each.rpartition("-")[0] for each in ids[:5]} == {group}
    assert ids[-2:] == ["sdxl-finetune", "sdxl-textual-inversion"]
    plain = [profile.id for profile in profiles.for_family("sdxl")]
    assert {each.rpartition("-")[0] for each in plain[:5]} == {"sdxl"}
    assert sorted(plain) == sorted(ids)


def test_the_profiles_of_pony_v7_come_first_for_a_model_that_is_named_so():
    ids = [profile.id for profile in profiles.for_family("auraflow", "pony-v7")]
    assert ids == ["pony-v7-character", "pony-v7-style", "auraflow-character", "auraflow-style"]
    assert [profile.id for profile in profiles.for_family("auraflow", "auraflow")] == [*ids[2:], *ids[:2]]


def test_every_lineage_can_be_guessed_from_a_model():
    known = {plain_lineage(each) for each in guess.load()}
    assert {profile.lineage for profile in profiles.shipped().values()} - {""} <= known


def test_a_difference_names_what_is_set_changed_and_dropped():
    old, new = profiles.shipped()["sdxl-character"], profiles.shipped()["sdxl-style"]
    rows = {row.path: row for row in profiles.diff(new, old.settings)}
    assert (rows["network.rank"].before, rows["network.rank"].after, rows["network.rank"].kind) == (32, 64, "changed")
    assert (rows["optimizer.bias_correction"].kind, rows["schedule.min_snr_gamma"].kind) == ("set", "dropped")
    assert rows["network.rank"].reason == new.reasons["network.rank"]
    assert "dataset.resolution" not in rows
    assert profiles.diff(old, old.settings) == ()
    assert {row.kind for row in profiles.diff(new)} == {"set"}


@pytest.mark.parametrize(
    ("count", "numbers"), [(9, "10 to 50"), (10, ""), (50, ""), (51, "10 to 50"), (3, "4 or more"), (500, "")]
)
def test_a_dataset_outside_the_number_of_images_of_a_profile_is_noted(tmp_path, monkeypatch, count, numbers):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    profile = profiles.shipped()["sdxl-character"]
    if numbers == "4 or more" or count == 500:
        profile = replace(profile, images=(4,))
    state = Workbench(engine_plans.machine(engine_plans.CARD)).state.use_profile(profile, None)
    image = DatasetImage("a.png", 64, 64, "ohwx", None, tmp_path / "a.png")
    state = state.with_facts(dataset=Dataset(tmp_path, (image,) * count, (), ()))
    found = [one for one in problems(state) if "The profile Character is for" in one.message]
    said = f"The profile Character is for {numbers} images, and this dataset has {count}."
    assert [(one.severity, one.message) for one in found] == ([("info", said)] if numbers else [])


@pytest.mark.parametrize("images", [[0], [50, 10], [1, 2, 3], [True], ["10"], 10, [1.5], [10**9]])
def test_a_number_of_images_that_makes_no_sense_is_refused(images):
    data = {**FILE, "images": images}
    with pytest.raises(ProfileError, match="images must be the least and the most images"):
        profile_of(data, "mine.toml")
