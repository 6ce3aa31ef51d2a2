"""Values remembered for a subject: written whole, read strictly, and settings only."""

import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer_core import places
from trainer_core.errors import SubjectError
from trainer_core.plan import fields
from trainer_core.plan.subject import subject_of
from trainer_core.prepare import subjects

VALUES = {"schedule.steps": 1200, "network.rank": 32, "optimizer.beta1": None, "dataset.flip": True}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    return tmp_path


def test_remembered_values_are_recalled_until_they_are_forgotten():
    assert subjects.recall("mika") == {}
    path = subjects.remember("mika", VALUES)
    assert path.parent == places.home() / "subjects"
    assert path.name.startswith("mika-")
    assert subjects.recall("mika") == VALUES
    subjects.remember("mika", {"network.rank": 8})
    assert subjects.recall("mika") == {"network.rank": 8}, "only the last values"
    assert subjects.forget("mika")
    assert subjects.recall("mika") == {}
    assert not subjects.forget("mika")


def test_a_subject_is_the_trigger_word_or_the_folders_name():
    assert subject_of({"dataset.trigger": " Mika ", "dataset.path": "/data/other"}) == "mika"
    assert subject_of({"dataset.trigger": "", "dataset.path": "/data/My Cat/"}) == "my cat"
    assert subject_of({"dataset.trigger": "", "dataset.path": ""}) == ""
    assert subject_of({}) == ""


def test_spellings_of_one_subject_and_two_similar_subjects():
    subjects.remember("Mika  Woman", {"network.rank": 32})
    assert subjects.recall(" mika woman") == {"network.rank": 32}
    assert subjects.recall("mika-woman") == {}, "the same readable name, but another subject"


def test_only_settings_are_remembered():
    private = {
        "model.path": "/home/me/model.safetensors",
        "dataset.path": "/home/me/images",
        "output.name": "mika",
        "native": {"kohya": {"huggingface_token": "hf_secret"}},
        "hf_token": "hf_secret",
        "schedule.steps": -4,
        "sampling.prompt": f"hf_secret{'a' * 30} on a beach",
        "network.rank": 32,
    }
    path = subjects.remember("mika", private)
    assert subjects.recall("mika") == {"network.rank": 32}
    assert "hf_secret" not in path.read_text()
    assert "/home/me" not in path.read_text()


def test_nothing_is_remembered_without_a_subject():
    with pytest.raises(SubjectError, match="trigger word"):
        subjects.remember("  ", VALUES)


@settings(max_examples=60, deadline=None)
@given(
    subject=st.text(min_size=1, max_size=300).filter(lambda text: bool(text.strip())),
    values=st.fixed_dictionaries(
        {},
        optional={
            "schedule.steps": st.integers(1, 1_000_000),
            "optimizer.learning_rate": st.floats(1e-12, 10),
            "optimizer.beta1": st.none() | st.floats(0, 0.99),
            "sampling.prompt": st.text(max_size=100),
            "schedule.scheduler": st.sampled_from(fields.all_fields()["schedule.scheduler"].choices),
        },
    ),
)
def test_values_of_any_subject_are_recalled(subject, values):
    path = subjects.remember(subject, values)
    assert path.resolve().parent == (places.home() / "subjects").resolve()
    assert subjects.recall(subject) == values
    assert subjects.forget(subject)


def test_a_name_that_cannot_be_encoded_can_be_a_subject():
    name = os.fsdecode(b"cat\xff")
    subjects.remember(name, VALUES)
    assert subjects.recall(name) == VALUES
    assert subjects.recall("cat?") == {}


def text(middle="", version="1", subject="mika"):
    return f'version = {version}\nsubject = "{subject}"\n{middle}'


HOSTILE = {
    "no TOML": ("steps =", "not TOML"),
    "no text": (b"\xff\xfe\x00", "not UTF-8"),
    "too large": ("# " + "x" * 70_000, "longer than 65536 bytes"),
    "nested deeply": ("x = " + "[" * 60_000, ""),
    "a foreign key": (text('command = "rm -rf /"'), "'command'"),
    "a foreign key with escapes": (text('"\\u001b[31m" = 1'), "\\u001b"),
    "another version": (text(version="2"), "version"),
    "a boolean version": (text(version="true"), "version"),
    "another subject": (text(subject="other"), "another subject"),
    "settings as a list": (text("settings = [1]"), "tables"),
    "settings without tables": (text("settings = { steps = 1 }"), "tables"),
    "a path": (text('[settings.model]\npath = "/etc/passwd"'), "model.path"),
    "an output": (text('[settings.output]\nfolder = "../.."'), "output.folder"),
    "native settings": (text("[settings.native.kohya]\nx = 1"), "native"),
    "an unknown setting": (text('[settings.network]\nhf_token = "secret"'), "network.hf_token"),
    "code for a number": (text('[settings.schedule]\nsteps = "__import__(1)"'), "schedule.steps"),
    "a huge number": (text("[settings.schedule]\nsteps = " + "9" * 4000), "schedule.steps"),
    "a number of too many digits": (text("[settings.schedule]\nsteps = " + "9" * 5000), "not TOML"),
    "not a number": (text("[settings.optimizer]\nlearning_rate = nan"), "optimizer.learning_rate"),
    "empty as a text": (text('empty = "optimizer.beta1"'), "empty"),
    "empty of what cannot be": (text('empty = ["schedule.steps"]'), "schedule.steps"),
    "empty of a path": (text('empty = ["model.path"]'), "model.path"),
}


@pytest.mark.parametrize(("content", "named"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_file_is_refused_with_file_key_and_reason(content, named):
    path = subjects.remember("mika", VALUES)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SubjectError) as refused:
        subjects.recall("mika")
    assert path.name in refused.value.message
    assert named in refused.value.message
    assert len(refused.value.message) < 400
    assert "\x1b" not in str(refused.value)
    subjects.remember("mika", VALUES)
    assert subjects.recall("mika") == VALUES, "remembering again replaces the file"


@pytest.mark.parametrize("kind", ["folder", "pipe", "blind link"])
def test_what_is_not_a_regular_file_is_refused_or_empty(kind):
    path = subjects.kept_in("mika")
    path.parent.mkdir()
    if kind == "blind link":
        path.symlink_to("/nowhere/at/all")
        assert subjects.recall("mika") == {}
        return
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(SubjectError, match="not a regular file"):
        subjects.recall("mika")
    subjects.remember("mika", VALUES)
    assert subjects.recall("mika") == VALUES
    kept = path.with_name(f"{path.name}.damaged")
    assert kept.is_dir() if kind == "folder" else kept.is_fifo(), "what was there is kept beside the new file"
    assert sorted(path.parent.iterdir()) == [path, kept], "no partial file is left"


def test_many_writers_at_once_leave_one_whole_file():
    written = [{"schedule.steps": number, "network.rank": number} for number in range(1, 9)]
    seen, failed = [], []
    subjects.remember("mika", written[0])

    def write(values):
        for _ in range(20):
            try:
                subjects.remember("mika", values)
                seen.append(subjects.recall("mika"))
            except SubjectError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(values,)) for values in written]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(seen) == 160
    assert all(values in written for values in seen)
    assert len(list((places.home() / "subjects").iterdir())) == 1
