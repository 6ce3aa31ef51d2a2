"""The library lists every model once, says what it is, and does not read an unchanged model again."""

import json
import os
import threading
from pathlib import Path

import pytest

from tests.support import recorded_headers
from trainer_core.engines import trainable
from trainer_core.models import library
from trainer_core.models.detection import Detection, Guess
from trainer_core.models.library import cache, reading, walk
from trainer_core.models.library.entry import as_row, from_row
from trainer_core.models.library.roots import Root
from trainer_core.models.library.walk import Candidate

LORA = recorded_headers.load("lora-kohya-sd15")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home folder for Easel and for the user."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for name in ("COMFYUI_PATH", "A1111_PATH", "SD_WEBUI_PATH", "FORGE_PATH", "EASEL_MODEL_FOLDERS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "easel"


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def tiny(path: Path, **metadata: str) -> Path:
    """A small file that is read quickly: a safetensors file with one tensor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return recorded_headers.write_file(path, {"weight": ("F16", (2, 2))}, metadata)


def found_in(*folders: Path) -> tuple[list[Candidate], list[str]]:
    return walk.walk([Root(folder, "yours", "") for folder in folders])


def names(candidates: list[Candidate], start: Path) -> list[str]:
    return [each.path.relative_to(start).as_posix() for each in candidates]


def test_each_model_is_listed_with_its_detection(models):
    for name in ("sd15", "vae-sd", "lora-kohya-sd15", "folder-sdxl-tiny"):
        recorded_headers.write(name, models)
    (models / "page.safetensors").write_text("<!DOCTYPE html>")
    found = library.scan([models])
    seen = {entry.path.name: (entry.role, entry.found.family if entry.found else None) for entry in found.entries}
    assert seen == {
        "folder-sdxl-tiny": ("checkpoint", "sdxl"),
        "lora-kohya-sd15.safetensors": ("lora", None),
        "page.safetensors": ("unknown", None),
        "sd15.safetensors": ("checkpoint", "sd15"),
        "vae-sd.safetensors": ("vae", None),
    }
    page = next(entry for entry in found.entries if entry.path.name == "page.safetensors")
    assert "web page" in page.error
    assert found.is_complete
    assert found.files_read == 5


def test_only_changed_models_are_read_again(models):
    paths = [recorded_headers.write_file(models / f"{number}.safetensors", LORA["tensors"]) for number in range(3)]
    first = library.scan([models])
    again = library.scan([models])
    assert (first.files_read, again.files_read) == (3, 0)
    assert again.entries == first.entries
    recorded_headers.write("vae-sd", models).replace(paths[1])
    os.utime(paths[2], (1e9, 1e9))
    changed = library.scan([models])
    assert changed.files_read == 2
    assert [entry.role for entry in changed.entries] == ["lora", "vae", "lora"]
    assert library.scan([models], refresh=True).files_read == 3


def test_a_replaced_file_of_the_same_size_and_time_is_read_again(models):
    path = tiny(models / "a.safetensors", ss_a="1")
    library.scan([models])
    about = path.stat()
    other = tiny(models / "b.tmp", ss_a="2")
    assert other.stat().st_size == about.st_size
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    other.replace(path)
    assert library.scan([models]).files_read == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "[]",
        lambda _: "[" * 100_000,
        lambda text: text.replace(cache.version(), "an older one"),
        lambda text: text.replace('"role":', '"rule":'),
        lambda text: json.dumps({**json.loads(text), "models": [1]}),
        lambda text: json.dumps({**json.loads(text), "models": dict.fromkeys(json.loads(text)["models"], 1)}),
        lambda text: json.dumps(
            {
                **json.loads(text),
                "models": {key: [row[0], {"found": 1}] for key, row in json.loads(text)["models"].items()},
            }
        ),
    ],
)
def test_a_damaged_or_older_cache_is_replaced(models, damage):
    recorded_headers.write("lora-kohya-sd15", models)
    first = library.scan([models])
    text = cache.kept_in().read_text()
    cache.kept_in().write_text(damage(text))
    again = library.scan([models])
    assert (again.files_read, again.entries) == (1, first.entries)
    assert cache.kept_in().read_text() == text


def test_a_cache_that_cannot_be_written_gives_a_notice(models, tmp_path):
    tiny(models / "a.safetensors")
    (tmp_path / "file").write_text("")
    found = library.scan([models], kept_in=tmp_path / "file" / "library.json")
    assert len(found.entries) == 1
    assert "cannot be written" in found.notices[0]


def test_a_scan_of_one_folder_keeps_the_results_of_others_and_drops_removed_models(models):
    gone = tiny(models / "one" / "a.safetensors")
    tiny(models / "two" / "b.safetensors")
    library.scan([models])
    gone.unlink()
    assert library.scan([models / "one"]).entries == ()
    assert list(cache.load(cache.kept_in())) == [str(models / "two" / "b.safetensors")]


def test_an_unreadable_file_is_read_once_its_permissions_allow_it(models):
    path = recorded_headers.write("lora-kohya-sd15", models)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "cannot be read" in library.scan([models]).entries[0].error
    path.chmod(0o600)
    assert library.scan([models]).entries[0].role == "lora"


def test_a_detection_survives_the_cache():
    found = Detection(
        "sdxl", "checkpoint", "v", "v_prediction", "F16", ("because",), {"flux": "lacks x"}, 4, 2.0, True, "a.", ("vae",),
        "safetensors", "sd15", True, "It is apart.", guess=Guess("pony", "Pony", "file name", "its name"),
    )  # fmt: skip
    assert from_row(json.loads(json.dumps(as_row(found, "")))) == (found, "")
    assert from_row(json.loads(json.dumps(as_row(None, "broken")))) == (None, "broken")


def test_a_model_in_several_files_is_listed_once(models):
    recorded_headers.write("folder-sdxl-tiny", models)
    for name in ("big-00001-of-00002.safetensors", "big-00002-of-00002.safetensors", "lone-00001-of-00002.safetensors"):
        tiny(models / "sharded" / name)
    (models / "sharded" / "big.safetensors.index.json").write_text("{}")
    for name in (
        "model.safetensors",
        "model.fp16.safetensors",
        "pytorch_model.bin",
        "beside.safetensors",
        "model_b.pt",
    ):
        tiny(models / "encoder" / name)
    (models / "encoder" / "config.json").write_text("{}")
    tiny(models / "single v1.5" / "diffusion_pytorch_model.safetensors")
    (models / "single v1.5" / "config.json").write_text("{}")
    candidates, notices = found_in(models)
    assert names(candidates, models) == [
        "encoder",
        "encoder/beside.safetensors",
        "encoder/model_b.pt",
        "folder-sdxl-tiny",
        "sharded/big.safetensors.index.json",
        "sharded/lone-00001-of-00002.safetensors",
        "single v1.5",
    ]
    files = {each.path.name: each.file for each in candidates}
    assert files["big.safetensors.index.json"] is None
    assert files["folder-sdxl-tiny"] is None
    assert {
        entry.path.name: entry.name for entry in library.scan([models]).entries if entry.path.name != entry.name
    } == {
        "beside.safetensors": "beside",
        "model_b.pt": "model_b",
        "big.safetensors.index.json": "big",
        "lone-00001-of-00002.safetensors": "lone-00001-of-00002",
    }
    assert files["encoder"] == models / "encoder" / "model.safetensors"
    assert files["single v1.5"] == models / "single v1.5" / "diffusion_pytorch_model.safetensors"
    assert notices == []


@pytest.mark.parametrize("inside", ["unet/diffusion_pytorch_model.safetensors", "unet/config.json", "model_index.json"])
def test_a_change_inside_a_folder_is_a_change_of_the_model(models, inside):
    place = recorded_headers.write("folder-sdxl-tiny", models)
    before = found_in(models)[0][0].stamp
    os.utime(place / inside, (1e9, 1e9))
    assert found_in(models)[0][0].stamp != before


def test_links_are_followed_and_each_file_is_listed_once(models, tmp_path):
    real = tiny(tmp_path / "elsewhere" / "deep" / "real.safetensors")
    (models / "link.safetensors").symlink_to(real)
    os.link(real, models / "hard.safetensors")
    (models / "elsewhere").symlink_to(tmp_path / "elsewhere")
    (models / "circle").symlink_to(models)
    (models / "nowhere.safetensors").symlink_to(tmp_path / "nothing")
    candidates, notices = found_in(models, models / "circle", tmp_path / "elsewhere")
    assert names(candidates, models) == ["hard.safetensors"]
    assert len(notices) == 1
    assert "nowhere.safetensors" in notices[0]


def test_a_linked_component_is_listed_once(models):
    tiny(models / "b" / "model.safetensors")
    (models / "b" / "config.json").write_text("{}")
    (models / "a.safetensors").symlink_to(models / "b" / "model.safetensors")
    assert names(found_in(models)[0], models) == ["a.safetensors"]


def test_other_files_are_left_out(models):
    for name in (".hidden/a", ".cache/b", ".git/c", "node_modules/d"):
        tiny(models / f"{name}.safetensors")
    for name in ("x.safetensors.part", "y.safetensors.incomplete", ".z.safetensors", "readme.md", "optimizer.txt"):
        tiny(models / name)
    (models / "folder.safetensors").mkdir()
    os.mkfifo(models / "pipe.safetensors")
    run = models / "run"
    tiny(run / "output" / "half-done.safetensors")
    for name in ("spec.json", "versions.json"):
        (run / name).write_text("{}")
    assert found_in(models) == ([], [])


def test_unreadable_folders_and_limits_give_notices(models, monkeypatch):
    tiny(models / "a" / "b" / "c" / "deep.safetensors")
    for name in "pqr":
        tiny(models / f"{name}.safetensors")
    monkeypatch.setattr(walk, "MOST_LEVELS", 2)
    candidates, notices = found_in(models, models / "missing")
    assert len(candidates) == 3
    assert ["more than 2 folders deep" in notices[0], "missing" in notices[1]] == [True, True]
    monkeypatch.setattr(walk, "MOST_MODELS", 2)
    candidates, notices = found_in(models)
    assert len(candidates) == 2
    assert "more than 2 models" in notices[0]
    monkeypatch.setattr(walk, "MOST_NAMES", 2)
    assert any("more than 2 files" in notice for notice in found_in(models)[1])


def test_names_that_are_not_text_are_listed(models):
    name = os.fsencode(models) + b"/\xff\x1b[31m.safetensors"
    tiny(models / "a.safetensors").rename(os.fsdecode(name))
    first, again = library.scan([models]), library.scan([models])
    assert [os.fsencode(entry.path) for entry in first.entries] == [name]
    assert again.entries == first.entries
    assert (first.files_read, again.files_read) == (1, 0)


def test_several_processes_read_many_models_with_the_same_results(models, monkeypatch):
    recorded_headers.write("vae-sd", models)
    recorded_headers.write("folder-sdxl-tiny", models)
    (models / "page.safetensors").write_text("<!DOCTYPE html>")
    for number in range(4):
        tiny(models / f"{number}.safetensors")
    here = library.scan([models], refresh=True)
    monkeypatch.setattr("trainer_core.models.library.reading.FEW", 0)
    seen = []
    apart = library.scan([models], refresh=True, progress=lambda done, total: seen.append((done, total)))
    assert apart == here
    assert seen == [(done, 7) for done in range(8)]


@pytest.mark.parametrize("few", [60, 0])
def test_a_scan_can_be_stopped_and_continued(models, monkeypatch, few):
    for number in range(6):
        tiny(models / f"{number}.safetensors")
    monkeypatch.setattr("trainer_core.models.library.reading.FEW", few)
    stop = threading.Event()
    part = library.scan([models], cancelled=stop, progress=lambda done, _: stop.set() if done == 2 else None)
    assert not part.is_complete
    assert len(part.entries) == part.files_read == 2
    rest = library.scan([models])
    assert (rest.is_complete, len(rest.entries), rest.files_read) == (True, 6, 4)
    assert library.scan([models], cancelled=stop).entries == ()
    assert library.scan([models]).files_read == 0


def test_a_crashed_reader_affects_one_model_which_is_read_again(models, monkeypatch):
    monkeypatch.setattr("trainer_core.models.library.reading.FEW", 0)
    monkeypatch.setattr("trainer_core.models.library.reading._ask", _fails_for("2.safetensors"))
    for number in range(4):
        tiny(models / f"{number}.safetensors")
    found = library.scan([models])
    assert {entry.path.name for entry in found.entries if "the process that read it crashed" in entry.error} == {
        "2.safetensors"
    }
    monkeypatch.undo()
    monkeypatch.setenv("EASEL_HOME", str(models.parent / "easel"))
    again = library.scan([models])
    assert again.files_read == 1
    assert not any("crashed" in entry.error for entry in again.entries)


def _fails_for(name):
    """Kills the process in the middle of one file, as the system does when memory is short."""
    asked = reading._ask

    def ask(reader, path):
        if path.name == name:
            reader.kill()
            reader.wait()
        return asked(reader, path)

    return ask


def test_a_library_is_searched_by_role_family_kind_and_words(models):
    for age, name in enumerate(("sd15", "lora-kohya-sd15", "folder-sdxl-tiny", "folder-sd15")):
        path = recorded_headers.write(name, models)
        for file in path.rglob("*") if path.is_dir() else [path]:
            os.utime(file, (2e9 - age, 2e9 - age))
    found = library.scan([models])

    def named(entries):
        return [entry.name for entry in entries]

    assert named(found.of(role="checkpoint")) == ["sd15", "folder-sdxl-tiny", "folder-sd15"]
    assert named(found.of(role="checkpoint", family="sd15")) == ["sd15", "folder-sd15"]
    assert named(found.find("sdxl checkpoint")) == ["folder-sdxl-tiny"]
    assert named(found.find("STABLE diffusion xl")) == ["folder-sdxl-tiny"]
    assert found.find("nothing of that name") == ()
    assert found.of(role="embedding") == ()


def test_trainable_base_models_come_first_and_the_others_have_a_reason(models):
    for age, name in enumerate(("folder-sd15-inpainting", "page", "lora-kohya-sd15", "sd15")):
        if name == "page":
            path = models / "page.safetensors"
            path.write_text("<!DOCTYPE html>")
        else:
            path = recorded_headers.write(name, models)
        for file in path.rglob("*") if path.is_dir() else [path]:
            os.utime(file, (2e9 - age, 2e9 - age))
    choices = trainable.choices(library.scan([models]))
    assert choices[0].entry.name == "sd15"
    assert "kohya" in choices[0].engines
    assert choices[0].why_not == ""
    assert {choice.entry.name for choice in choices[1:]} == {"folder-sd15-inpainting", "page"}
    assert all(choice.why_not and not choice.engines for choice in choices[1:])
    assert "web page" in choices[-1].why_not
