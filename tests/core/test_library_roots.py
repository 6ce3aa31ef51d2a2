"""The searched folders: Easel's, those of other programs, the user's own; an untrusted file of paths does no harm."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer_core.errors import LibraryError
from trainer_core.models import library
from trainer_core.models.library import chosen, extra_paths
from trainer_core.models.library.roots import apps


@pytest.fixture(autouse=True)
def person(tmp_path, monkeypatch):
    """A user's home folder without any programs of this machine."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for table in apps().values():
        for name in table.get("environment", ()):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("EASEL_MODEL_FOLDERS", raising=False)
    return tmp_path / "person"


def below(tmp_path):
    """The roots in this test's folder, and why each is searched; other folders of the machine are ignored."""
    return {
        root.path.relative_to(tmp_path).as_posix(): (root.app, root.because)
        for root in library.roots().folders
        if root.path.is_relative_to(tmp_path)
    }


def test_usual_places_are_found_and_missing_ones_give_no_notice(tmp_path, person):
    assert below(tmp_path) == {}
    assert library.roots().notices == ()
    for folder in ("ComfyUI/models", "stable-diffusion-webui/models", "stable-diffusion-webui/embeddings"):
        (person / folder).mkdir(parents=True)
    (person / "stable-diffusion-webui-forge" / "models").mkdir(parents=True)
    (tmp_path / "easel" / "models").mkdir(parents=True)
    (tmp_path / "easel" / "outputs").mkdir()
    assert {path: app for path, (app, _) in below(tmp_path).items()} == {
        "easel/models": "easel",
        "easel/outputs": "easel",
        "person/ComfyUI/models": "comfyui",
        "person/stable-diffusion-webui/models": "a1111",
        "person/stable-diffusion-webui/embeddings": "a1111",
        "person/stable-diffusion-webui-forge/models": "forge",
    }


def test_variables_name_programs_and_folders(tmp_path, monkeypatch):
    for folder in ("comfy/models", "webui/models", "one", "two"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "comfy"))
    monkeypatch.setenv("SD_WEBUI_PATH", str(tmp_path / "webui"))
    monkeypatch.setenv("A1111_PATH", str(tmp_path / "nothing"))
    folders = [tmp_path / "one", tmp_path / "two", tmp_path / "gone"]
    monkeypatch.setenv("EASEL_MODEL_FOLDERS", os.pathsep.join(map(str, folders)))
    assert list(below(tmp_path)) == ["one", "two", "comfy/models", "webui/models"]
    notices = library.roots().notices
    assert len(notices) == 2
    assert "gone" in notices[0]
    assert "A1111_PATH" in notices[1]


def test_a_folder_with_two_names_is_searched_once(tmp_path, person, monkeypatch):
    (tmp_path / "comfy" / "models").mkdir(parents=True)
    person.mkdir()
    (person / "ComfyUI").symlink_to(tmp_path / "comfy")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "comfy"))
    assert list(below(tmp_path)) == ["comfy/models"]


def test_extra_paths_are_resolved_like_in_comfyui(tmp_path, person, monkeypatch):
    monkeypatch.setenv("SHELF", str(tmp_path / "shelf"))
    file = tmp_path / "ComfyUI" / "extra_model_paths.yaml"
    file.parent.mkdir()
    file.write_text(
        """
# a comment
a111:
    base_path: ../webui
    checkpoints: models/Stable-diffusion
    loras: |
        models/Lora

        models/LyCORIS
    custom_nodes: nodes
    configs: models/configs
comfyui:
    base_path: $SHELF/models
    is_default: true
    checkpoints: checkpoints/
    clip: ./../other/clip
    vae: /abs/vae
    unknown_kind: wherever
home:
    base_path: ~/all
    unet: unet
bare:
    unet: unet
empty:
"""
    )
    folders, notices = extra_paths.read(file)
    assert [str(folder) for folder in folders] == [
        f"{tmp_path}/shelf/models/checkpoints",
        f"{tmp_path}/shelf/other/clip",
        "/abs/vae",
        f"{tmp_path}/shelf/models/wherever",
        f"{tmp_path}/webui/models/Stable-diffusion",
        f"{tmp_path}/webui/models/Lora",
        f"{tmp_path}/webui/models/LyCORIS",
        f"{person}/all/unet",
        f"{tmp_path}/ComfyUI/unet",
    ]
    assert notices == ()
    (tmp_path / "webui" / "models" / "Lora").mkdir(parents=True)
    monkeypatch.setenv("COMFYUI_PATH", str(file.parent))
    assert "extra_model_paths.yaml" in below(tmp_path)["webui/models/Lora"][1]


BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: [unclosed", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        (b"\x00", "is not valid YAML"),
        (b"- a\n- list", "no table of sections"),
        (b"just text", "no table of sections"),
        (b"a: !!python/object/apply:os.system ['touch pwned']", "is not valid YAML"),
        (b"a: 2020-99-99", "is not valid YAML"),
        (b"? {a: 1}\n: b", "is not valid YAML"),
        (b"[" * 30_000, "is nested"),
        (b"a:\n" + b"".join(b" " * n + b"- \n" for n in range(1, 300)), "is nested"),
        (b"a: " + b"x" * 70_000, "longer than"),
        (BOMB.encode(), "aliases"),
        (
            b"one: text\ntwo: [1]\nthree: {base_path: 1}\nfour: {loras: [a]}\nfive: {loras: ok}",
            "section one is not a table",
        ),
    ],
)
def test_an_invalid_file_of_paths_gives_a_notice(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "extra_model_paths.yaml"
    file.write_bytes(text)
    folders, notices = extra_paths.read(file)
    assert said in notices[0]
    assert str(file) in notices[0]
    assert not (tmp_path / "pwned").exists()
    assert folders == ((tmp_path / "ok",) if b"five" in text else ())
    assert len(notices) == (4 if b"five" in text else 1)


PIECES = [
    "a:",
    "base_path:",
    " ",
    "\n",
    "- ",
    "|",
    "&x ",
    "*x",
    "{",
    "}",
    "[",
    "<<: ",
    "!!",
    "~",
    "$HOME",
    "'",
    '"',
    "%",
    "\x00",
    "?",
    "#",
    "é",
]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30))
def test_a_random_file_of_paths_gives_folders_and_notices(tmp_path, pieces):
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text("".join(pieces), "utf-8", "surrogatepass")
    folders, notices = extra_paths.read(file)
    assert all(folder.is_absolute() for folder in folders)
    assert all("\n" not in notice for notice in notices)


def test_an_unreadable_file_of_paths_gives_a_notice(tmp_path):
    (tmp_path / "extra_model_paths.yaml").mkdir()
    folders, notices = extra_paths.read(tmp_path / "extra_model_paths.yaml")
    assert folders == ()
    assert "cannot be read" in notices[0]


def test_folders_are_added_listed_and_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", 'tw"o\n'):
        (tmp_path / name).mkdir()
    assert chosen.listed() == ()
    assert chosen.add("one") == tmp_path / "one"
    chosen.add(tmp_path / "x" / ".." / 'tw"o\n')
    assert chosen.listed() == (tmp_path / "one", tmp_path / 'tw"o\n')
    assert list(below(tmp_path))[:1] == ["one"]
    with pytest.raises(LibraryError, match="already added"):
        chosen.add(tmp_path / "one")
    with pytest.raises(LibraryError, match="not a folder"):
        chosen.add(tmp_path / "three")
    with pytest.raises(LibraryError, match="was not added"):
        chosen.remove(tmp_path / "three")
    (tmp_path / "one").rmdir()
    assert any("one" in notice for notice in library.roots().notices)
    chosen.remove("one")
    assert chosen.listed() == (tmp_path / 'tw"o\n',)


@pytest.mark.parametrize(
    "text",
    [
        "folders = 1",
        "version = 1\nfolders = [1]",
        "version = 2\nfolders = []",
        'version = 1\nfolders = []\nmore = ""',
        "[",
        "\x00",
    ],
)
def test_a_damaged_list_of_folders_is_an_error_for_the_user_and_a_notice_in_a_scan(tmp_path, text):
    chosen.kept_in().parent.mkdir()
    chosen.kept_in().write_text(text)
    with pytest.raises(LibraryError, match=r"model_folders\.toml"):
        chosen.add(tmp_path)
    assert chosen.kept_in().read_text() == text
    assert any("model_folders.toml" in notice for notice in library.roots().notices)
