"""What a run made, which of it is the best, and copies for other programs; a run folder from outside leads nowhere else."""

from __future__ import annotations

import json

import pytest
from safetensors import safe_open

from tests.support.ends import easel_says
from tests.support.played import ended
from tests.support.sampled import add_events, add_samples, add_validation
from trainer_core import places
from trainer_core.errors import LibraryError, RunError
from trainer_core.models.library import chosen, destinations
from trainer_core.models.library.roots import apps
from trainer_core.training import choice
from trainer_core.training.handing_over import hand_over, ready_file
from trainer_core.training.prompts import of_plan, prompts_of
from trainer_core.training.results import results_of
from trainer_core.training.run import Run


@pytest.fixture(autouse=True)
def person(tmp_path, monkeypatch):
    """A user's home folder without any programs of this machine."""
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    for table in apps().values():
        for name in table.get("environment", ()):
            monkeypatch.delenv(name, raising=False)
    return tmp_path / "person"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """A run with three checkpoints and a final result."""
    return ended(tmp_path_factory.mktemp("whole"), output={"save_every_steps": 5})


@pytest.fixture
def run(whole):
    yield whole
    whole.folder.write(choice.FILE, {})


def test_the_results_are_the_checkpoints_and_the_final_one_with_their_samples_and_losses(tmp_path):
    run = ended(tmp_path, output={"save_every_steps": 5})
    add_samples(run, (0, 5, 15), prompts=2)
    add_validation(run, {5: 0.2, 10: 0.1, 20: 0.15})
    found = results_of(run)
    assert [(one.step, one.is_final, one.saved.ok) for one in found.made] == [
        (5, False, True), (10, False, True), (15, False, True), (20, True, True),
    ]  # fmt: skip
    assert [sorted(one.samples) for one in found.made] == [[0, 1], [], [0, 1], []]
    assert sorted(found.before) == [0, 1]
    assert found.rows == (0, 1)
    assert found.lowest is not None
    assert found.lowest.step == 10
    assert found.offered is not None
    assert found.offered.is_final


def test_a_sample_outside_of_the_run_folder_is_left_out(tmp_path):
    run = ended(tmp_path)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (run.folder.output / "link.png").symlink_to(tmp_path / "secret.png")
    for path in ("../../secret.png", "output/link.png", str(tmp_path / "secret.png")):
        add_events(run, [{"kind": "sample", "path": path, "step": 5, "prompt": 0}])
    assert results_of(run).rows == ()


def test_the_best_is_kept_in_the_run_folder_and_the_command_line_takes_it_by_default(run, tmp_path):
    answer = easel_says(run, "best", "10")
    assert answer.exit_code == 0, answer.output
    assert json.loads((run.folder.path / choice.FILE).read_text())["best"] == 10
    listed = json.loads(easel_says(run, "checkpoints", "--json").output)
    assert [row["step"] for row in listed if row["best"]] == [10]
    assert "10 (best)" in easel_says(run, "checkpoints").output
    taken = json.loads(easel_says(run, "use", "--to", str(tmp_path / "mine"), "--json").output)
    assert taken["delivered"] == str(tmp_path / "mine" / "cg_mika-step00000010.safetensors")
    assert easel_says(run, "best", "7").exit_code == 1
    assert json.loads(easel_says(run, "best", "--none", "--json").output)["best"] is None


def test_the_final_result_can_be_the_best_and_is_taken_too(run, tmp_path):
    assert easel_says(run, "best", "20").exit_code == 0
    taken = json.loads(easel_says(run, "use", "--to", str(tmp_path / "mine"), "--json").output)
    assert taken["delivered"] == str(tmp_path / "mine" / "cg_mika.safetensors")


@pytest.mark.parametrize("step", [10, 20])
def test_the_same_file_is_not_copied_twice_and_keeps_its_metadata(run, tmp_path, step):
    folder = tmp_path / "loras"
    first, again = hand_over(run, step, folder), hand_over(run, step, folder)
    assert (first.was_there, again.was_there, again.path) == (False, True, first.path)
    assert len(list(folder.iterdir())) == 1
    with safe_open(first.path, "numpy") as file:
        told = file.metadata()
    assert (told["easel.steps"], told["easel.engine"]) == (str(step), "rehearsal")
    first.path.unlink()
    first.path.write_bytes(b"another file of mine")
    assert hand_over(run, step, folder).path.name == first.path.name.replace(".safetensors", "-2.safetensors")
    assert first.path.read_bytes() == b"another file of mine"


def test_copies_get_the_name_that_the_user_gave(run, tmp_path):
    assert choice.call(run.folder, " elena v4.safetensors ") == "elena v4"
    assert hand_over(run, 10, tmp_path / "mine").path.name == "elena v4-step00000010.safetensors"
    for name in ("../x", "a/b", ".hidden", "x" * 101, "a\nb"):
        with pytest.raises(RunError, match="cannot be used"):
            choice.call(run.folder, name)
    assert choice.read(run.folder).name == "elena v4"


@pytest.mark.parametrize("text", ["[]", '{"best": "5", "name": 7}', '{"best": -1, "name": "../x"}', "not json"])
def test_a_damaged_choice_is_no_choice(run, text):
    (run.folder.path / choice.FILE).write_text(text)
    assert choice.read(run.folder) == choice.Choice()


def test_the_file_of_a_result_is_never_one_outside_of_the_run_folder(run, tmp_path):
    """A run folder from somebody else may say that it was delivered to any file of yours."""
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(b"secret")
    run.folder.write("delivered.json", {"output/cg_mika-step00000005.safetensors": str(secret)})
    finished = run.folder.path / "finished"
    finished.mkdir(exist_ok=True)
    (finished / "00000000-output-cg_mika-step00000005.safetensors").symlink_to(secret)
    one = results_of(run).of_step(5)
    assert one is not None
    assert one.saved.delivered == secret
    assert ready_file(run, one).resolve().is_relative_to(run.folder.path.resolve())


def test_a_run_folder_is_no_place_for_copies(run):
    with pytest.raises(RunError, match="inside the run folder"):
        hand_over(run, 10, run.folder.path / "mine")


# Programs


def test_only_programs_that_are_there_are_offered_with_the_folder_that_they_read(person, tmp_path, monkeypatch):
    assert destinations.destinations("network") == ()
    (person / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    (tmp_path / "webui" / "models").mkdir(parents=True)
    monkeypatch.setenv("FORGE_PATH", str(tmp_path / "webui"))
    found = {each.title: each.folder for each in destinations.destinations("network")}
    assert found == {"ComfyUI": person / "ComfyUI/models/loras", "Forge": tmp_path / "webui/models/Lora"}
    assert destinations.destination("comfyui", "checkpoint").folder == person / "ComfyUI/models/checkpoints"
    with pytest.raises(LibraryError, match="was not found"):
        destinations.destination("a1111", "network")
    with pytest.raises(LibraryError, match="does not know"):
        destinations.destination("paint", "network")


@pytest.mark.parametrize(
    ("made", "chosen", "read"),
    [
        ("ComfyUI/models/loras", "ComfyUI", "ComfyUI/models/loras"),
        ("ComfyUI/models/loras", "ComfyUI/models", "ComfyUI/models/loras"),
        ("portable/comfy_extras", "portable", "portable/models/loras"),
        ("forge/modules_forge", "forge", "forge/models/Lora"),
        ("loras/models", "loras", ""),
        ("ComfyUI/models/loras", "ComfyUI/models/loras", ""),
        ("ComfyUI/models/loras", "ComfyUI/models/loras/mine", ""),
    ],
)
def test_a_folder_of_a_program_itself_leads_to_the_one_that_it_reads(tmp_path, made, chosen, read):
    (tmp_path / made).mkdir(parents=True)
    found = destinations.of_program(tmp_path / chosen, "network")
    assert (found.folder if found else "") == (tmp_path / read if read else "")


def test_the_command_line_copies_to_the_folder_that_a_program_reads_and_says_so(run, tmp_path):
    (tmp_path / "ComfyUI" / "models" / "loras").mkdir(parents=True)
    answer = easel_says(run, "use", "--step", "10", "--to", str(tmp_path / "ComfyUI"), "--json")
    assert "ComfyUI, which reads such files in" in answer.stderr
    assert json.loads(answer.stdout)["delivered"] == str(
        tmp_path / "ComfyUI/models/loras/cg_mika-step00000010.safetensors"
    )


def test_the_command_line_copies_to_a_program(run, person):
    (person / "ComfyUI" / "models").mkdir(parents=True)
    taken = json.loads(easel_says(run, "use", "--step", "10", "--app", "comfyui", "--json").output)
    assert taken["delivered"] == str(person / "ComfyUI/models/loras/cg_mika-step00000010.safetensors")
    assert easel_says(run, "use", "--app", "forge").exit_code == 1


def test_a_folder_of_the_users_choice_stays_within_their_own_and_is_remembered(person, tmp_path):
    (person / "loras").mkdir(parents=True)
    folder = destinations.own_folder("~/loras")
    assert folder == person / "loras"
    destinations.remember(folder)
    assert destinations.remembered() == folder
    (person / "out").symlink_to("/etc")
    places.runs().mkdir(parents=True)
    for text in ("/etc", "~/out", str(places.runs()), "", "/", str(person / "a" / "b" / "c")):
        with pytest.raises(LibraryError):
            destinations.own_folder(text)


def test_a_folder_is_allowed_alone_and_never_the_whole_disk(person, tmp_path):
    with pytest.raises(LibraryError, match="does not exist"):
        destinations.allow("/no-such-folder/loras")
    assert chosen.listed() == ()
    (tmp_path / "elsewhere").mkdir()
    for _ in range(2):
        destinations.allow(str(tmp_path / "elsewhere" / "loras"))
    assert chosen.listed() == (tmp_path / "elsewhere",)


# Prompts


def test_the_prompts_of_a_run_have_text_seed_and_size(run):
    (one,) = prompts_of(run)
    assert (one.text, one.seed, one.width, one.height) == ("portrait, high quality", 42, 512, 512)
    with_trigger = {"sampling": {"prompt": "{trigger} in a forest", "seed": 7}, "dataset": {"trigger": "mika"}}
    assert [(each.text, each.has_trigger) for each in of_plan(with_trigger)] == [("mika in a forest", True)]
    without = {"sampling": {"prompt": "a lake"}, "dataset": {"trigger": "mika"}}
    assert not of_plan(without)[0].has_trigger
    assert of_plan({"sampling": {"prompt": ""}}) == ()
