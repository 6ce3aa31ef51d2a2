"""The converter without a browser: conversions and the check on real files, what is refused, and the models on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import small_models, tool_files
from tests.support.page import click, enter, go, inside, markup, on_page, wait_for
from trainer_core import places
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.models import header
from trainer_ui import guides
from trainer_ui.apps.checkpoint_merger import CheckpointMerger
from trainer_ui.apps.model_converter import ModelConverter


@pytest.fixture
def app(opening):
    return opening(ModelConverter)


@pytest.fixture
def model(tmp_path):
    return small_models.write(tmp_path / "model.safetensors", small_models.arrays("sd15", 1))


def control(app, utility, name):
    return next(one for one in app.forms[utility].controls if one.field.name == name)


def finish(app, utility):
    bar = app.bars[utility]
    wait_for(lambda: not bar.start.disabled)
    click(bar.start)
    wait_for(lambda: app.jobs.job is not None and app.jobs.state in FINAL_STATES)
    assert app.jobs.state is JobState.COMPLETED, app.jobs.job.folder.log.read_text()
    app.views.show()


def test_what_would_be_the_same_file_is_refused_and_another_form_is_made(app, model):
    enter(control(app, "convert", "files").rows[0].path, str(model))
    wait_for(lambda: app.session.desks["convert"].error and not app.session.desks["convert"].is_looking)
    app.views.show()
    assert "The new file would be the same as the old one." in markup(app.root)
    assert app.bars["convert"].start.disabled
    enter(control(app, "convert", "dtype").list, "bf16")
    finish(app, "convert")
    path = Path(next(one.text for one in inside(app.root) if type(one).__name__ == "CopyLine" and one.text))
    assert {each.dtype for each in header.read(path).tensors.values() if each.dtype.endswith("16")} == {"BF16"}
    assert on_page(app.made.saving)


def test_tensors_get_the_names_that_engines_read_and_what_is_renamed_is_said_before(app, tmp_path):
    small = {name: np.zeros(shape, np.float16) for name, shape in small_models.shapes("flux-dev").items()}
    renamed = {
        f"model.diffusion_model.{name.replace('_norm.scale', '_norm.weight')}": each for name, each in small.items()
    }
    enter(control(app, "convert", "files").rows[0].path, str(small_models.write(tmp_path / "a.safetensors", renamed)))
    enter(next(one for one in inside(app.root) if getattr(one, "description", "") == "Contents"), True)
    enter(control(app, "convert", "names").list, "original")
    wait_for(lambda: not app.bars["convert"].start.disabled)
    app.views.show()
    assert "All names lose the prefix model.diffusion_model." in markup(app.root)
    finish(app, "convert")
    path = Path(next(one.text for one in inside(app.root) if type(one).__name__ == "CopyLine" and one.text))
    assert header.read(path).tensors.keys() == small.keys()


def test_a_folder_is_made_and_is_no_download(app, model):
    enter(control(app, "convert", "files").rows[0].path, str(model))
    enter(control(app, "convert", "form").list, "diffusers")
    finish(app, "convert")
    assert (model.with_name("model-diffusers") / "model_index.json").is_file()
    assert not on_page(app.made.saving)
    click(app.made.next["check"])
    assert app.places.chosen == "check"
    assert app.session.desks["check"].values["file"] == str(model.with_name("model-diffusers"))


def test_a_check_says_what_is_damaged_and_offers_no_download(app, tmp_path):
    broken = small_models.arrays("sd15", 1)
    next(iter(broken.values())).reshape(-1)[0] = np.nan
    path = small_models.write(tmp_path / "broken.safetensors", broken)
    go(app, "check")
    enter(control(app, "check", "file").text, str(path))
    finish(app, "check")
    assert "not a number (NaN)" in markup(app.root)
    assert not on_page(app.made.saving)
    assert app.made.title.value.count("The file")


def test_models_on_this_machine_are_offered_by_their_role(opening):
    models = places.home() / "models"
    tool_files.checkpoints(models)
    tool_files.loras(models)
    app = opening(CheckpointMerger)
    wait_for(lambda: app.session.shelf.library is not None)
    app.views.show()
    a = control(app, "merge", "a")
    names = [words.partition(":")[0] for words, path in a.known.list.options if path]
    assert sorted(names) == ["anime", "photo", "sd15-base", "xl"]
    enter(a.known.list, str(models / "anime.safetensors"))
    assert a.text.value == str(models / "anime.safetensors")
    go(app, "bake")
    row = control(app, "bake", "networks").rows[0]
    assert {words.partition(":")[0] for words, path in row.known.list.options if path} == {"elena", "ink", "xl-style"}


@pytest.mark.parametrize("kind", [ModelConverter, CheckpointMerger])
def test_every_place_opens_a_section_of_the_guide_that_exists(opening, kind):
    for page, section in opening(kind).guide.helps.values():
        assert section in [block["id"] for block in guides.read(page) if block["kind"] == "h"], (page, section)
