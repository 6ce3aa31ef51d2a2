"""A run folder may come from anybody: whatever is in its files, taking and continuing it ends with a sentence."""

from __future__ import annotations

import contextlib
import copy
import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.played import ended
from trainer_core.errors import EaselError
from trainer_core.jobs.folder import JobFolder
from trainer_core.training import resume
from trainer_core.training.run import Run
from trainer_core.training.use import saved, use

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from(["", ".", "..", "/", "/etc/*", "**", "\ud800", "\x00", "(", "[", "x", 10**400, math.nan]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that ended too early and can be resumed, in a home of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EASEL_HOME", str(folder))
        yield ended(folder, output={"save_every_steps": 5, "keep_states": 2}, ending="crash", at=12)


def places_in(data, path=()):
    """The paths of all values in JSON data."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places_in(value, (*path, key))


def replaced(data, path, value):
    made = copy.deepcopy(data)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def take_and_continue(run, target):
    """Nothing but an error with a sentence may come out."""
    again = Run.attach(run.folder.path)
    for act in (
        lambda: saved(again),
        lambda: use(again, folder=target),
        lambda: resume.propose(again).as_dict(),
        lambda: resume.propose(again, step=5),
    ):
        with contextlib.suppress(EaselError):
            act()


NEEDS = ("details", "artefacts", "states", "needs")
ORIGIN = {"run": "x", "folder": "/x", "step": "5", "state": "y"}


@given(st.randoms(use_true_random=False), VALUES)
@example(NEEDS, [[]])
@example(NEEDS, ["/x"])
@example(NEEDS, [".."])
@example(("details", "resumes"), ORIGIN)
@example(("details", "resumes"), {**ORIGIN, "step": 5, "folder": 7})
@example(("details", "plan", "optimizer", "learning_rate"), math.nan)
@example(("details", "plan", "native"), {"rehearsal": {"x": [math.inf]}})
@settings(max_examples=120, deadline=None)
def test_no_value_in_the_spec_file_breaks_taking_or_continuing_a_run(run, tmp_path_factory, where, value):
    file = run.folder.path / "spec.json"
    whole = file.read_text()
    data = json.loads(whole)
    path = where if isinstance(where, tuple) else where.choice(list(places_in(data)))
    try:
        file.write_text(json.dumps(replaced(data, path, value)))
        take_and_continue(run, tmp_path_factory.mktemp("taken"))
    finally:
        file.write_text(whole)


@given(st.sampled_from(["delivered.json", "states.json", "choice.json", "result.json", "labels.json"]), VALUES)
@example("delivered.json", {"x": "\ud800"})
@example("delivered.json", {"output/cg_mika-step00000010.safetensors": "\ud800"})
@example("states.json", {"states": 5})
@example("states.json", {"states": {"name": 1}})
@settings(max_examples=60, deadline=None)
def test_no_value_in_another_file_breaks_taking_or_continuing_a_run(run, tmp_path_factory, name, value):
    file = run.folder.path / name
    before = file.read_bytes() if file.exists() else None
    try:
        file.write_text(json.dumps(value))
        take_and_continue(run, tmp_path_factory.mktemp("taken"))
    finally:
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)


def test_half_a_character_in_a_record_is_kept(tmp_path):
    folder = JobFolder(tmp_path)
    odd = {"x": "\ud800 \udc80 \udcff é"}
    folder.write("delivered.json", odd)
    assert folder.read("delivered.json") == odd
