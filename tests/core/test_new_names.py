"""Where a new file goes that a user has named, and which names are refused: one rule for all tools."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import small_models
from trainer_core import places
from trainer_core.cli import easel
from trainer_core.cli.making import NEW_FILE
from trainer_core.errors import FilesError, WeightsError
from trainer_core.keeping import names as kept
from trainer_core.tools import convert, lora_scale, merge
from trainer_core.weights import new_names
from trainer_core.weights.conversion import wishes

BAD = ["CON", "con.safetensors", ".hidden", "a\nb", "<img src=x>", "a\x00b", "nul.safetensors", "a:b", "a\\b"]


@pytest.fixture
def pair(tmp_path):
    one = small_models.arrays("sd15", 1)
    for name, arrays in (("one", one), ("two", small_models.near(one, 2))):
        small_models.write(tmp_path / f"{name}.safetensors", arrays)
    return tuple(str(tmp_path / f"{name}.safetensors") for name in ("one", "two"))


def test_a_name_alone_goes_into_the_folder_of_the_tool(tmp_path, monkeypatch):
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    assert new_names.chosen("bare", tmp_path) == tmp_path / "bare.safetensors"
    assert new_names.chosen("folder", tmp_path, ()) == tmp_path / "folder"
    assert new_names.chosen("./bare", tmp_path) == tmp_path / "working" / "bare.safetensors"
    assert new_names.chosen(str(tmp_path / "deep" / "v1.5"), Path("/")) == tmp_path / "deep" / "v1.5.safetensors"


def test_a_name_alone_of_a_merge_goes_among_the_models(pair):
    target = merge.outlook(merge.Settings(models=pair, target="bare")).target
    assert target.name == "bare.safetensors"
    assert places.models() in target.parents


def test_a_name_alone_of_a_conversion_goes_beside_the_model(pair):
    made = convert.outlook(wishes.Settings(files=(pair[0],), target="bare.safetensors", dtype="fp32"))
    assert made.target == Path(pair[0]).with_name("bare.safetensors")


@pytest.mark.parametrize("typed", ["../../escape.safetensors", "..", "a/../b", "/tmp/../etc/new"])
def test_a_path_that_leads_up_is_refused(tmp_path, typed):
    with pytest.raises(WeightsError, match="leads up") as caught:
        new_names.chosen(typed, tmp_path)
    assert caught.value.is_wrong_use
    assert "Write out its folder" in caught.value.hint


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_not_every_system_can_have_is_refused_by_the_tools_and_by_the_uploader(tmp_path, name):
    with pytest.raises(WeightsError, match="cannot be the name"):
        new_names.chosen(name, tmp_path)
    if "/" not in name:
        with pytest.raises(FilesError, match="cannot be the name"):
            kept.checked(name)


@pytest.mark.parametrize("folder", ["", "deep/", "/tmp/"])
def test_a_name_that_is_too_long_is_called_too_long(tmp_path, folder):
    with pytest.raises(WeightsError, match="is too long: it has 300 letters") as caught:
        new_names.chosen(folder + "x" * 300, tmp_path)
    assert "180 bytes" in caught.value.hint
    assert len(caught.value.message) < 100
    with pytest.raises(FilesError, match="too long"):
        kept.checked("x" * 300)


def test_a_path_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="path of the new file is too long"):
        new_names.chosen("/".join(["", *["x" * 100] * 60]), tmp_path)


def test_a_new_folder_on_the_way_needs_a_good_name_and_an_old_one_does_not(tmp_path):
    (tmp_path / ".cache").mkdir()
    assert new_names.chosen(str(tmp_path / ".cache" / "new"), tmp_path).parent.name == ".cache"
    with pytest.raises(WeightsError, match="cannot be the name"):
        new_names.chosen(str(tmp_path / ".other" / "new"), tmp_path)


def test_the_command_line_starts_from_the_working_folder_and_spells_out_what_leads_up(tmp_path, monkeypatch):
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    assert NEW_FILE.convert("bare", None, None) == str(tmp_path / "working" / "bare")
    assert NEW_FILE.convert("../bare", None, None) == str(tmp_path / "bare")
    assert NEW_FILE.convert("", None, None) == ""
    assert NEW_FILE.convert("folder/", None, None).endswith("/")


def test_easel_merge_writes_a_name_alone_into_the_working_folder(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(easel, ["merge", *pair, "--out", "bare", "--dry-run"])
    assert f"file: {tmp_path / 'bare.safetensors'}" in told.output


def test_the_usual_name_beside_a_file_with_a_long_name_fits(tmp_path):
    from trainer_core.tools import weights_job

    target = weights_job.target(lora_scale.Settings(file=str(tmp_path / f"{'ä' * 120}.safetensors")), "scaled")
    assert target.name.endswith("-scaled.safetensors")
    assert len(target.name.encode()) < 200


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="file is a file, so new"):
        new_names.chosen(str(tmp_path / "file" / "deep" / "new"), tmp_path)
