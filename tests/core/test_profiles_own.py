"""The user's own profiles: compared, uploaded, removed and put back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from trainer_core import profiles
from trainer_core.cli import main
from trainer_core.errors import ProfileError

CHARACTER, STYLE = (profiles.shipped()[name] for name in ("sd15-character", "sd15-style"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def mine():
    profiles.save(replace(CHARACTER, id="mine", title="Mine"))
    return profiles.own()[0]["mine"]


def test_what_differs_between_two_profiles_comes_first():
    rows = profiles.compare(CHARACTER, STYLE)
    kinds = [row.differs for row in rows]
    assert kinds == sorted(kinds, reverse=True)
    assert True in kinds
    assert {row.path for row in rows} == CHARACTER.settings.keys() | STYLE.settings.keys()
    for row in rows:
        assert row.is_set == (row.path in CHARACTER.settings, row.path in STYLE.settings)
        assert row.path not in CHARACTER.settings or row.first == CHARACTER.settings[row.path]


def test_a_profile_does_not_differ_from_itself():
    assert not any(row.differs for row in profiles.compare(STYLE, STYLE))


def test_a_removed_profile_can_be_put_back(mine):
    kept = profiles.remove("mine")
    assert kept.is_file()
    assert "mine" not in profiles.known()
    profiles.put_back("mine")
    assert profiles.own()[0]["mine"] == mine


def test_a_profile_is_removed_by_its_id_whatever_its_file_is_called(mine, home):
    file = home / "profiles" / "mine.toml"
    file.rename(file.with_name("of a friend.toml"))
    profiles.remove("mine")
    assert "mine" not in profiles.known()
    profiles.put_back("mine")
    assert "mine" in profiles.known()


def test_a_profile_that_has_a_successor_is_not_put_back_over_it(mine):
    profiles.remove("mine")
    profiles.save(replace(mine, title="Another"))
    with pytest.raises(ProfileError, match="another profile"):
        profiles.put_back("mine")
    assert profiles.own()[0]["mine"].title == "Another"


@pytest.mark.parametrize("name", ["sd15-character", "no-such", "../mine", "", "removed/mine"])
def test_only_ones_own_profiles_are_removed(mine, name):
    with pytest.raises(ProfileError):
        profiles.remove(name)
    with pytest.raises(ProfileError):
        profiles.put_back(name)
    assert profiles.own()[0] == {"mine": mine}


def test_an_uploaded_file_is_checked_and_compared_with_the_own_one(mine):
    text = profiles.dumps(replace(mine, settings={**mine.settings, "network.rank": 99}))
    found = profiles.uploaded(text.encode(), "../../etc/passwd.toml")
    assert found.present == mine
    assert [(change.path, change.after) for change in found.changes] == [("network.rank", 99)]
    assert profiles.own()[0]["mine"] == mine, "nothing is saved"


@pytest.mark.parametrize("raw", [b"", b"\xff", b"a = 1", b"<html>", b"x" * 70_000, b"[settings]\n"])
def test_what_is_no_profile_is_refused(raw):
    with pytest.raises(ProfileError):
        profiles.uploaded(raw, "x.toml")


def test_the_command_line_compares_and_removes(mine, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["profiles", *arguments])
        return ended.value.code, capsys.readouterr().out

    code, out = run("compare", "sd15-character", "sd15-style", "--json")
    assert code == 0
    assert json.loads(out)[0]["differs"]
    assert run("compare", "mine", "sd15-character")[1].startswith("0 of ")
    assert run("remove", "mine")[0] == 0
    assert "mine" not in profiles.known()
    assert run("remove", "mine", "--undo")[0] == 0
    assert "mine" in profiles.known()
    assert run("remove", "sd15-style")[0] == 1


def test_ones_own_words_say_what_a_profile_is_for():
    plan = {"model": {"family": "sd15"}, "network": {"rank": 24}}
    made = profiles.from_plan(plan, title="Mine", wanted_id="mine", explanation="For my cat.").profile
    assert made.explanation == "For my cat."
