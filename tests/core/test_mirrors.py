"""The user's own package registry is used, wherever it is set, although Easel's tools get none of the machine's other settings."""

import pytest

from tests.support import package_index, tiny_engine
from trainer_core.errors import InstallError
from trainer_core.install import environments, mirrors, uv

engine = tiny_engine.engine
PUBLIC = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "UV_CONFIG_FILE", "XDG_CONFIG_HOME")


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A user who has set nothing, with an empty cache; the home folder."""
    for name in PUBLIC:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "user"


def test_an_engine_comes_from_a_mirror_with_a_password_and_torch_from_a_mirror_of_its_index(engine, plain, monkeypatch):
    engine.as_pinned()
    row = '[[environment.torch]]\nkind = "cpu"\nbuild = "cpu"\npins = { torch = "9.9" }\n'
    engine.table(torch=row + tiny_engine.ROW)
    with package_index.serving(engine.package, "secret") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{index.address}/simple/")
        monkeypatch.setenv(mirrors.TORCH_INDEX, f"{index.address}/whl")
        found = environments.install("tiny", "cpu", report=lambda _: None)
    assert found.torch == "cpu"
    assert {"/simple/tinytrainer/", "/whl/cpu/torch/"} <= set(index.asked)
    assert "secret" not in (found.home / "install.log").read_text()


def test_the_registry_of_pips_configuration_is_used_and_a_file_with_another_hash_is_refused(engine, plain):
    engine.as_pinned()
    settings = plain / ".config/pip/pip.conf"
    settings.parent.mkdir(parents=True)
    with package_index.serving(engine.package) as index:
        settings.write_text(f"[global]\nindex-url = {index.address}/simple/\n")
        assert environments.install("tiny", "cpu", report=lambda _: None)
        tiny_engine.wheel(engine.package, "tinytrainer", "2.0", {"tinytrainer.py": "another = 1\n"})
        pins = engine.package / "tiny.txt"
        pins.write_text(pins.read_text().replace("==1.0", "==2.0"))
        with pytest.raises(InstallError, match=r"(?i)hash"):
            environments.install("tiny", "cpu", report=lambda _: None)
    assert "/simple/tinytrainer/" in index.asked


UV_TOML = """
[[index]]
url = "https://more.example/simple"
[[index]]
url = "https://mirror.example/simple"
default = true
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".config/uv/uv.toml", UV_TOML),
        (".config/uv/uv.toml", 'index-url = "https://mirror.example/simple"\n'),
        (".config/uv/uv.toml", '[pip]\nindex-url = "https://mirror.example/simple"\n'),
        (".config/pip/pip.conf", "[global]\nindex-url = https://mirror.example/simple\n"),
        (".pip/pip.conf", "[install]\nindex-url = https://mirror.example/simple\n[global]\nindex-url = https://x\n"),
    ],
)
def test_the_registry_is_found_in_configuration_files(plain, file, text):
    (plain / file).parent.mkdir(parents=True)
    (plain / file).write_text(text)
    assert uv.uv_environment()["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert uv.uv_environment()["UV_NO_CONFIG"] == "1"


def test_damaged_configuration_files_are_passed_over(plain):
    for file in (".config/uv/uv.toml", ".config/pip/pip.conf"):
        (plain / file).parent.mkdir(parents=True)
        (plain / file).write_text("[[[\nindex = 3")
    assert not {"UV_DEFAULT_INDEX"} & set(mirrors.for_uv({"PIP_CONFIG_FILE": "/dev/null"}))


@pytest.mark.parametrize(
    ("given", "of_uv", "of_pip"),
    [
        ({"UV_DEFAULT_INDEX": "https://a"}, "https://a", "https://a"),
        ({"UV_DEFAULT_INDEX": "mine=https://a"}, "mine=https://a", "https://a"),
        ({"UV_INDEX_URL": "https://a", "PIP_INDEX_URL": "https://b"}, None, "https://b"),
        ({"PIP_INDEX_URL": "https://b"}, "https://b", "https://b"),
    ],
)
def test_what_is_set_for_one_tool_counts_for_the_other_that_has_nothing(plain, given, of_uv, of_pip):
    closed = {**given, "PIP_CONFIG_FILE": "/dev/null"}
    assert mirrors.for_uv(closed).get("UV_DEFAULT_INDEX") == of_uv
    assert mirrors.for_pip(closed).get("PIP_INDEX_URL") == of_pip


def test_torch_comes_from_pytorch_a_mirror_or_the_users_folder():
    assert mirrors.torch_from("cu126", {}) == (["--torch-backend=cu126"], {})
    assert mirrors.torch_from("cu126", {mirrors.TORCH_INDEX: "https://m/whl/"}) == (
        [],
        {"UV_INDEX": "https://m/whl/cu126"},
    )
    assert mirrors.torch_from(
        "cu126", {"UV_OFFLINE": "1", "UV_FIND_LINKS": "/wheels", mirrors.TORCH_INDEX: "https://m"}
    ) == ([], {})
