"""What the user has set is never replaced without a word because its file is damaged."""

from __future__ import annotations

import pytest

from tests.support.commands import prepared
from trainer_core import places
from trainer_core.errors import LibraryError
from trainer_core.files import set_aside
from trainer_core.models.library import chosen, destinations
from trainer_core.prepare import subjects
from trainer_core.training import labels
from trainer_ui import browsing, theme

DAMAGED = "{ not whole"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    places.home().mkdir()


def _theme(_):
    return places.home() / "theme.json", lambda: theme.remember("auto")


def _recent(folder):
    return places.home() / "recent-folders.json", lambda: browsing.remember(folder)


def _results(folder):
    return places.home() / "results_folder.toml", lambda: destinations.remember(folder)


def _subject(_):
    return subjects.kept_in("mika"), lambda: subjects.remember("mika", {"network.rank": 8})


def _labels(folder):
    job = prepared(folder / "jobs", "print(1)")
    return job.folder.path / "labels.json", lambda: labels.write(job.folder, labels.Labels("new"))


@pytest.mark.parametrize("case", [_theme, _recent, _results, _subject, _labels])
def test_a_damaged_file_is_kept_aside(tmp_path, case):
    path, write = case(tmp_path)
    write()
    good = path.read_text()
    write()
    assert not list(path.parent.glob("*.damaged*")), "a whole file is replaced"
    path.write_text(DAMAGED)
    write()
    assert path.read_text() == good
    assert path.with_name(f"{path.name}.damaged").read_text() == DAMAGED


def test_damaged_model_folders_are_named_and_stay(tmp_path):
    chosen.kept_in().write_text(DAMAGED)
    with pytest.raises(LibraryError, match="not TOML"):
        chosen.add(tmp_path)
    assert chosen.kept_in().read_text() == DAMAGED


def test_an_older_damaged_file_is_kept_too(tmp_path):
    for number in range(3):
        (tmp_path / "a").write_text(str(number))
        set_aside(tmp_path / "a")
    assert [path.read_text() for path in sorted(tmp_path.glob("a.*"))] == ["0", "1", "2"]
    assert set_aside(tmp_path / "a") is None
