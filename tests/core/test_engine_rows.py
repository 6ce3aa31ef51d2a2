"""The table of engines for real drafts: which files each engine needs, whether the plan fits, what is lost, and the proposal."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tests.support import recorded_headers
from trainer_core.cli import easel
from trainer_core.engines import registry
from trainer_core.estimate.past import Past
from trainer_core.models import library
from trainer_core.prepare import engine_rows
from trainer_core.prepare.workbench import Workbench

SHARED = {
    "flux": ("flux-dev", "folder-flux-dev"),
    "sd3": ("sd35-medium", "folder-sd35-medium"),
    "chroma": ("chroma", "folder-chroma"),
    "lumina2": ("lumina2", "folder-lumina2"),
    "anima": ("anima", "folder-anima"),
    "sdxl": ("sdxl", "folder-sdxl"),
}
"""Families that two engines train, each with a recorded file and a folder."""


@pytest.fixture
def bench(tmp_path, images, monkeypatch):
    """A job with images, in a home without engines."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    found = Workbench()
    found.set({"dataset.path": str(images.root), "dataset.trigger": "mika"})
    return found


def rows(bench, name, tmp_path, past=()):
    """The rows by engine for a recorded model, and the table."""
    bench.set({"model.path": str(recorded_headers.write(name, tmp_path))})
    table = engine_rows.table(bench, past)
    return {row.standing.id: row for row in table.rows}, table


@pytest.mark.parametrize("family", SHARED)
def test_two_engines_have_a_row_each_and_the_one_that_loads_the_model_is_proposed(bench, tmp_path, family):
    claiming = {one.manifest.id for one in registry.available() if family in one.manifest.families}
    assert len(claiming) > 1
    for name in SHARED[family]:
        found, table = rows(bench, name, tmp_path)
        assert bench.state.family == family
        assert {key for key, row in found.items() if row.standing.trains} == claiming
        for key in claiming:
            assert all(found[key].cells), "no cell is empty"
            # What the table says about a start is what the form says when that engine is chosen.
            bench.use_engine(key)
            form = [each for each in bench.problems if each.severity == "error" and each.path == "model.path"]
            assert ("form that it reads" in found[key].files) == bool(form)
        bench.use_engine("")
        readable = [key for key in claiming if "form that it reads" not in found[key].files]
        assert table.proposed in readable
        assert bench.state.backend.manifest.id in readable, "the automatic choice passes over the others, too"


def test_a_hidden_engine_has_a_row_only_if_it_was_chosen(bench, tmp_path):
    found, _ = rows(bench, "sdxl", tmp_path)
    assert "rehearsal" not in found
    bench.use_engine("rehearsal")
    table = engine_rows.table(bench)
    row = table.named("rehearsal")
    assert row.is_chosen
    assert (row.standing.memory, row.speed, row.installed, row.resume) == (
        "unknown",
        "it only simulates",
        "yes",
        "exact",
    )
    assert table.proposed == "kohya", "a hidden engine is never proposed"


def test_companion_files_count_for_the_engine_that_needs_them(bench, tmp_path, monkeypatch):
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    found, _ = rows(bench, "flux-dev", tmp_path)
    assert found["kohya"].standing.files == "missing"
    assert "VAE of FLUX.1 or Stable Diffusion 3, CLIP ViT-L/14, T5 v1.1 XXL" in found["kohya"].files
    for name in ("t5xxl", "clip-l", "vae-flux"):
        recorded_headers.write_file(models / f"{name}.safetensors", recorded_headers.load(name)["tensors"])
    bench.use_library(library.scan([models]))
    found = engine_rows.table(bench)
    assert "missing: VAE" not in found.named("kohya").files
    # The same files are found while another engine is chosen, which needs none of them.
    bench.use_engine("simpletuner")
    assert engine_rows.table(bench).named("kohya").files == found.named("kohya").files


def test_the_speed_is_that_of_runs_with_the_same_engine_model_and_device(bench, tmp_path):
    bench.use_engine("kohya")
    _, table = rows(bench, "sdxl", tmp_path)
    assert {row.speed for row in table.rows if row.standing.trains} == {engine_rows.NOT_MEASURED}
    plan, machine = bench.state.draft.sketch(), bench.state.facts.machine
    past = (Past("20260101-elena", "kohya", plan, machine, step_s=1.25),)
    found, _ = rows(bench, "sdxl", tmp_path, past)
    assert found["kohya"].speed.startswith("1.25 s a step in 20260101-elena (")
    assert found["simpletuner"].speed == engine_rows.NOT_MEASURED


def test_an_engine_that_does_not_train_the_family_says_why(bench, tmp_path):
    found, table = rows(bench, "sd15", tmp_path)
    assert found["simpletuner"].why_not == registry.get("simpletuner").manifest.refused["sd15"]
    assert table.reason.startswith("kohya sd-scripts is the only engine that trains Stable Diffusion 1.5")
    assert table.rows[0].standing.id == "kohya"


def test_a_value_that_only_one_engine_has_is_lost_with_the_other(bench, tmp_path):
    bench.set({"dataset.color_augmentation": True, "memory.cache_latents": False})
    found, table = rows(bench, "sdxl", tmp_path)
    assert "dataset.color_augmentation" in {one.path for one in found["simpletuner"].lost}
    assert "dataset.color_augmentation" not in {one.path for one in found["kohya"].lost}
    assert all(one.why for row in table.rows for one in row.lost)


@dataclasses.dataclass(frozen=True)
class Foreign:
    """An engine of another package that fails when it is asked."""

    manifest: object

    def problems(self, plan, machine, status):
        yield from ()
        raise KeyError(plan.model.family)


def test_an_engine_of_another_package_that_fails_has_a_row_that_says_so(bench, tmp_path):
    rows(bench, "sdxl", tmp_path)
    manifest = registry.get("simpletuner").manifest
    elsewhere = shutil.copytree(manifest.folder, tmp_path / "foreign")
    foreign = Foreign(dataclasses.replace(manifest, id="foreign", title="Foreign", folder=elsewhere))
    state = dataclasses.replace(bench.state, engines=(*bench.state.engines, foreign))
    table = engine_rows.table(SimpleNamespace(state=state, reader=bench.reader, is_known=True))
    assert (
        "Foreign failed when it was asked about this plan (KeyError: 'sdxl')" in table.named("foreign").standing.blocks
    )
    assert table.proposed == "kohya"


def test_each_missing_part_is_named_with_the_file_that_is_meant_and_how_to_get_it(bench, tmp_path):
    bench.set({"model.vae": str(tmp_path / "gone.safetensors")})
    found, _ = rows(bench, "z-image", tmp_path)
    row = found["musubi"]
    assert row.files == "missing: VAE of FLUX.1 or Stable Diffusion 3, Qwen3 4B; at hand: one file"
    vae, qwen = (sentence for sentence in row.reasons if sentence.startswith(("VAE", "Qwen")))
    assert vae.startswith("VAE (model.vae): ")
    assert "gone.safetensors does not exist" in vae
    assert qwen.startswith("Qwen (model.qwen): This model needs Qwen3 4B as a separate file")
    assert "easel models download hf:Comfy-Org/z_image_turbo/split_files/text_encoders/qwen_3_4b.safetensors" in qwen
    # An engine that cannot read the model at all wants no parts for it.
    assert not found["simpletuner"].wanted


def test_the_variant_that_the_user_names_counts_for_who_trains_the_model(bench, tmp_path):
    found, _ = rows(bench, "flux-dev", tmp_path)
    assert "set model.variant to kontext" in found["musubi"].standing.blocks
    bench.set({"model.variant": "kontext"})
    assert "kontext" not in {row.standing.id: row for row in engine_rows.table(bench).rows}["musubi"].standing.blocks


def test_the_table_is_kept_for_small_changes_of_memory(bench, tmp_path):
    rows(bench, "sdxl", tmp_path)
    before = bench.state
    bench.look()
    assert engine_rows.is_same(before, bench.state)
    bench.set({"network.rank": 77})
    assert not engine_rows.is_same(before, bench.state)


def test_the_command_line_shows_the_same_table(bench, tmp_path, images, monkeypatch):
    found, table = rows(bench, "folder-flux-dev", tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    job = ["--model", bench.state.draft.text("model.path"), "--dataset", str(images.root), "--trigger", "mika"]
    done = CliRunner().invoke(easel, ["backends", "compare", *job, "--json"], catch_exceptions=False)
    data = json.loads(done.stdout)
    assert (data["proposed"], data["reason"]) == (table.proposed, table.reason)
    assert [row["engine"] for row in data["engines"]] == [row.standing.id for row in table.rows]
    assert {row["engine"]: row["files"] for row in data["engines"]} == {
        name: {"rating": row.standing.files, "text": row.files, "wanted": list(row.wanted)}
        for name, row in found.items()
    }
    shown = CliRunner().invoke(easel, ["backends", "compare", *job], catch_exceptions=False).stdout
    assert table.reason in shown
    assert all(heading in shown for heading in table.headings)
    assert shown.count("kohya sd-scripts reads this family from one .safetensors file") == 2, (
        "in its row, and why another one is proposed"
    )
    assert "kohya sd-scripts: kohya" not in shown
