"""Every defect that can be made is named for each engine, and nothing is said of clean images."""

import os

import pytest

from tests.support import defect_corpus
from trainer_core.curation import quality, scores
from trainer_core.datasets import scan
from trainer_core.datasets.defects import DEFECTS
from trainer_core.engines import registry

CLEAN = int(os.environ.get("EASEL_CLEAN_IMAGES", "36"))
"""How many clean images are made; 240 were once, and nothing was found."""


def said(folder, engine):
    """The keys that a check gives for a folder."""
    looks = scores.measured(folder)
    rules = registry.get(engine).manifest.dataset
    found = scan.scan(folder, rules, trigger="sks", inspect=scores.inspector(folder, looks))
    sure = {key for look in looks.values() for key, state in quality.found(look.scores).items() if state == "found"}
    return found, set(found.defects) | sure


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("name", defect_corpus.CASES)
def test_each_defect_is_named_for_each_engine(name, tmp_path):
    case = defect_corpus.CASES[name]
    defect_corpus.fill(tmp_path / "images", case)
    for engine in defect_corpus.ENGINES:
        found, keys = said(tmp_path / "images", engine)
        wanted = case.key(engine)
        assert wanted in keys or not wanted, (engine, keys)
        assert wanted or not {key for key in keys if key not in DEFECTS or DEFECTS[key].severity != "info"}, keys
        stops = name in defect_corpus.BROKEN and wanted in DEFECTS and DEFECTS[wanted].severity == "error"
        assert bool(found.stopping) == stops, engine
        assert "clean.png" in {image.name for image in found.images}


def test_nothing_is_said_of_clean_images(tmp_path):
    defect_corpus.clean(tmp_path / "images", CLEAN)
    for engine in defect_corpus.ENGINES:
        found, keys = said(tmp_path / "images", engine)
        assert len(found.images) == CLEAN
        assert keys <= {"alpha_channel"}, keys
        assert [problem.message for problem in found.problems] == []
    unsure = [path for path, look in scores.stored(tmp_path / "images").items() if quality.found(look.scores)]
    assert unsure == []
