"""Profiles are data: every shipped one is good, and a hostile one is refused with its reason."""

import pytest

from trainer_core import profiles, registry
from trainer_core.errors import ProfileError
from trainer_core.hardware import Accelerator, Machine
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import blocking

SHIPPED = sorted(profiles.shipped_folder().glob("*/*.toml"))
GOOD = """
id = "x"
title = "X"
family = "sd15"
method = "lora"
use = "character"
explanation = "For tests."
"""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_profile_says_what_it_is_and_where_its_values_come_from(path):
    profile = profiles.load(path)
    assert profile.id == f"{path.parent.name}-{path.stem}"
    assert profile.family == path.parent.name
    assert profile.use == path.stem
    assert profile.sources
    assert profile.settings


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_each_family_that_is_trained_has_a_profile_for_every_use(family):
    uses = {profile.use for profile in profiles.for_family(family)}
    assert uses == {"character", "style", "concept", "photorealism", "anime"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "id is missing"),
        (GOOD + "command = 'rm'", "'command'"),
        (GOOD + "[settings.model]\npath = '/etc/passwd'", "model.path"),
        (GOOD + "[settings.output]\nfolder = '../..'", "output.folder"),
        (GOOD + "[settings.native.kohya]\nx = 1", "native"),
        (GOOD + "[settings.network]\nrank = 99999999", "network.rank"),
        (GOOD + "[settings.network]\nrnak = 4", "rnak"),
        (GOOD + "[settings]\nnetwork = 4", "tables"),
        (GOOD + "sources = 'x'", "sources"),
        ("id = " + "[" * 10_000, "nested|TOML"),
        ("id = \x00", "TOML"),
        ("x" * 100_000, "larger"),
    ],
)
def test_a_profile_that_is_not_one_is_refused_by_file_and_reason(tmp_path, text, reason):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=reason) as refused:
        profiles.load(file)
    assert "bad.toml" in refused.value.message


def test_a_profile_that_is_not_utf8_is_refused(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_bytes(b'id = "\xff"')
    with pytest.raises(ProfileError, match="UTF-8"):
        profiles.load(file)


CLAIMED = [
    (path, engine)
    for path in SHIPPED
    for engine in registry.available()
    if path.parent.name in engine.manifest.families
]


@pytest.mark.parametrize(("path", "engine"), CLAIMED, ids=lambda part: getattr(part, "stem", None))
def test_shipped_profile_blocks_on_no_engine_that_trains_its_family(path, engine):
    profile = profiles.load(path)
    job = {"model.path": "/m", "model.family": profile.family, "dataset.path": "/d", "output.name": "x"}
    plan = TrainingPlan.model_validate(fields.nest({**job, **profile.settings}))
    card = Machine((Accelerator("cuda", "a card", 2**35, 2**35, "8.9"),), 2**36, 2**36, 2**40, 8, "Linux x86_64", {})
    assert blocking(engine.problems(plan, card)) == ()
