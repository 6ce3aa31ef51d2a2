"""What an engine loads from the Hub is known before the start, fetched to where it looks, and said if it cannot be had."""

import gzip
import hashlib
import json
import time

import pytest

from tests.support import engine_plans
from tests.support.hub_server import addresses, serving
from trainer_core import hub_switch
from trainer_core.draft.checks import Case, hub
from trainer_core.draft.facts import Facts
from trainer_core.engines import manifest as manifests
from trainer_core.engines import registry
from trainer_core.engines.hub import HubFacts
from trainer_core.errors import InstallError
from trainer_core.install import clip_tokenizer, hub_files, hub_reach
from trainer_core.jobs import own_program
from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.prepare.reader import FactsReader
from trainer_core.tools import hub_files as tool

KOHYA = manifests.read("kohya")
CLIP = KOHYA.hub["openai/clip-vit-large-patch14"]
BYT5 = KOHYA.hub["google/byt5-small"]
GEMMA = KOHYA.hub["google/gemma-2-2b"]
T5 = KOHYA.hub["google/t5-v1_1-xxl"]
SECRET = "hf_" + "a1B2" * 9


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in (*hub_switch.SWITCHES, "TRANSFORMERS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    # Nothing answers there.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "easel"


@pytest.fixture
def vocabulary(home, monkeypatch):
    """A file like that of open_clip, where Easel keeps it."""
    lines = ["#version", *(f"a{number} b" for number in range(48894))]
    file = home / "models" / "demo" / "vocabulary" / clip_tokenizer.VOCABULARY
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.setattr(clip_tokenizer, "VOCABULARY_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())


@pytest.mark.parametrize("family", KOHYA.families)
def test_what_is_missing_is_found_by_family(family):
    expected = set(KOHYA.families[family].hub)
    assert {row.id for row in hub_files.missing(KOHYA, family)} == expected
    assert bool(expected) == (family != "anima"), "Anima's tokenizers are in the sources of the engine"


def test_clip_tokenizers_are_made_without_the_hub(vocabulary, home):
    said = []
    hub_files.prepare(KOHYA, said.append)
    for family in ("sd15", "sd2", "sdxl"):
        assert not hub_files.missing(KOHYA, family)
    assert any(line.startswith("Without the tokenizer of T5") for line in said), (
        "a fetch that fails is said, and no failure"
    )
    assert not list((home / "models" / "tokenizers").glob(".new-*"))
    hub_files.prepare(KOHYA, said.append)


def test_an_incomplete_folder_is_missing_and_is_replaced(vocabulary, home):
    folder = home / "models" / "tokenizers" / CLIP.folder_name
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text("{}")
    assert not hub_files.is_there(CLIP), "the engine would take the folder as it is, and stop"
    hub_files.bring(CLIP, KOHYA, str)
    assert hub_files.is_there(CLIP)


def test_files_in_the_cache_of_the_hub_are_not_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "cache" / "models--openai--clip-vit-large-patch14"
    snapshot = root / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in CLIP.files:
        (snapshot / name).write_text("x")
    assert not hub_files.is_there(CLIP), "no name leads to this commit"
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    assert hub_files.is_there(CLIP)


def test_the_t5_tokenizer_is_made_from_the_sources_of_the_engine_only_if_it_is_the_same_file(home):
    source = home / "engines" / "kohya" / "source" / T5.source
    source.parent.mkdir(parents=True)
    source.write_bytes(b"another model")
    assert not hub_files.can_make(T5, KOHYA)
    with pytest.raises(InstallError, match="failed"):
        hub_files.bring(T5, KOHYA, str)


def test_files_are_downloaded_by_their_pinned_commit_into_the_cache_that_the_engine_reads(monkeypatch):
    with serving(addresses(BYT5)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        hub_files.bring(BYT5, KOHYA, str)
    assert hub_files.is_there(BYT5)
    assert (hub_files.hub_cache() / "models--google--byt5-small" / "refs" / "main").read_text() == BYT5.revision


def test_a_cache_with_another_commit_gets_the_files_of_that_commit(monkeypatch):
    root = hub_files.hub_cache() / "models--google--byt5-small"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    with serving(addresses(BYT5, "0" * 40)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        hub_files.bring(BYT5, KOHYA, str)
    assert (root / "snapshots" / ("0" * 40) / "config.json").is_file()
    assert (root / "refs" / "main").read_text() == "0" * 40


def test_a_gated_repository_says_what_to_do_and_the_token_is_not_sent_elsewhere(monkeypatch):
    header, elsewhere, seen = {"Authorization": f"Bearer {SECRET}"}, [], []
    with serving(dict.fromkeys(addresses(GEMMA), 401)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        with pytest.raises(InstallError) as refused:
            hub_files.bring(GEMMA, KOHYA, str, header)
    assert "Accept its licence" in str(refused.value)
    assert SECRET not in str(refused.value)
    with serving({f"/{name}": b"{}" for name in GEMMA.files}, elsewhere) as other:
        moved = {path: f"{other}/{path.rpartition('/')[2]}" for path in addresses(GEMMA)}
        with serving(moved, seen) as url:
            monkeypatch.setenv("HF_ENDPOINT", url)
            hub_files.bring(GEMMA, KOHYA, str, header)
    assert all(headers["Authorization"] == f"Bearer {SECRET}" for path, headers in seen)
    assert elsewhere
    assert not any("Authorization" in headers for _, headers in elsewhere)


def test_the_hub_is_asked_in_a_thread_and_the_answer_is_kept(monkeypatch):
    seen = []
    with serving({}, seen) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert hub_reach.reach() == "unknown"
        assert hub_reach.reach(10) == "yes", "a status of 404 is an answer"
        assert [hub_reach.reach() for _ in range(20)] == ["yes"] * 20
        assert len(seen) == 1
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub_reach.reach(10) == "no"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub_reach.reach() == "off"


def test_asking_never_blocks(monkeypatch):
    monkeypatch.setattr(hub_reach, "answers", lambda _: time.sleep(1) or True)
    monkeypatch.setenv("HF_ENDPOINT", "http://slow.test")
    started = time.monotonic()
    assert hub_reach.reach() == "unknown"
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    ("reach", "severity", "can_be_fetched"),
    [("off", "error", False), ("no", "error", False), ("unknown", "warning", True), ("yes", "info", True)],
)
def test_the_problem_says_what_is_missing_and_offers_only_what_can_work(reach, severity, can_be_fetched):
    def said(family, missing, obtainable):
        facts = Facts(engine_plans.machine(engine_plans.CARD), hub=HubFacts(missing, reach, obtainable))
        return list(hub.hub_files_are_there(Case(engine_plans.plan(family), facts, registry.get("kohya"))))

    (problem,) = said("lumina2", (GEMMA,), False)
    assert problem.severity == severity
    assert problem.message.startswith("The tokenizer of Gemma 2 is missing (")
    assert (problem.fix.task is not None) == can_be_fetched
    assert "easel tools hub-files --engine kohya --family lumina2" in (
        problem.fix.task.command if can_be_fetched else problem.fix.label
    )
    (problem,) = said("sdxl", (CLIP,), True)
    assert problem.fix.task is not None, "it is made here, without the Hub"
    assert problem.message.endswith(" Easel can make it here.")
    (problem,) = said("sdxl", (CLIP, GEMMA), True)
    assert problem.message.startswith("Two tokenizers are missing (")
    assert not said("sdxl", (), True)


def test_the_reader_finds_it_for_an_installed_engine(monkeypatch, vocabulary):
    from trainer_core.engines.status import EngineStatus
    from trainer_core.install import choice
    from trainer_core.prepare.workbench import Workbench

    monkeypatch.setattr(choice, "statuses", lambda *_: {"kohya": EngineStatus(installed=True)})
    bench = Workbench(engine="kohya")
    bench.set({"model.family": "sdxl"})
    bench.look()
    assert [row.id for row in bench.state.facts.hub.missing] == list(KOHYA.families["sdxl"].hub)
    assert bench.state.facts.hub.obtainable
    late = FactsReader().look(bench.state, 10)
    assert late.facts.hub.reach == "no"
    hub_files.bring_all(bench.state.facts.hub.missing, KOHYA, str)
    bench.look()
    assert not bench.state.facts.hub.missing


def test_a_plan_asks_whether_the_hub_answers_as_the_start_does(monkeypatch):
    from click.testing import CliRunner

    from trainer_core.cli.job import plan
    from trainer_core.engines.status import EngineStatus
    from trainer_core.install import choice

    monkeypatch.setattr(choice, "statuses", lambda *_: {"kohya": EngineStatus(installed=True)})
    monkeypatch.setattr(hub_reach, "answers", lambda _: time.sleep(0.3) or False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9/plan")
    found = CliRunner().invoke(plan, ["--set", "model.family=hunyuan_image", "--engine", "kohya", "--json"])
    said = [one for one in json.loads(found.stdout)["problems"] if "Hugging Face Hub" in one["message"]]
    assert [one["severity"] for one in said] == ["error"]


def test_the_tool_ends_well_only_if_the_engine_finds_the_files(monkeypatch):
    def run():
        job = tool.start(tool.Settings(engine="kohya", family="hunyuan_image"))
        end = time.monotonic() + 60
        while job.state not in FINAL_STATES and time.monotonic() < end:
            time.sleep(0.05)
        return job

    job = run()
    assert job.state is JobState.FAILED
    assert "Downloading the tokenizer of Qwen 2.5 VL failed" in str(job.result)
    rows = [KOHYA.hub[name] for name in KOHYA.families["hunyuan_image"].hub]
    with serving({path: data for row in rows for path, data in addresses(row).items()}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert run().state is JobState.COMPLETED
    assert not hub_files.missing(KOHYA, "hunyuan_image")


def test_only_the_files_of_the_variant_of_the_plan_are_fetched(monkeypatch):
    musubi = manifests.read("musubi")
    small, large = musubi.hub["Qwen/Qwen3-4B"], musubi.hub["Qwen/Qwen3-8B"]
    facts = Facts(engine_plans.machine(engine_plans.CARD), hub=HubFacts((small,), "yes", False))
    plan = engine_plans.plan("flux2", model__variant="klein-4b")
    (problem,) = hub.hub_files_are_there(Case(plan, facts, registry.get("musubi")))
    assert problem.fix.task.arguments == {"engine": "musubi", "family": "flux2", "variant": "klein-4b"}
    monkeypatch.setattr(own_program, "report", lambda _: None)
    with serving({path: data for row in (small, large) for path, data in addresses(row).items()}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        tool.run(tool.Settings(**problem.fix.task.arguments))
        assert hub_files.is_there(small)
        assert not hub_files.is_there(large)
        tool.run(tool.Settings(engine="musubi", family="flux2"))
        assert hub_files.is_there(large)
    with pytest.raises(InstallError, match="no variant 'klein-5b'"):
        tool.start(tool.Settings(engine="musubi", family="flux2", variant="klein-5b"))
    # Qwen-Image needs fewer files than the models that edit.
    plan = engine_plans.plan("qwen_image", model__variant="image")
    (problem,) = hub.hub_files_are_there(Case(plan, facts, registry.get("musubi")))
    assert problem.fix.task.arguments["variant"] == "image"


def test_only_a_single_file_needs_the_configurations_of_its_family():
    simpletuner = manifests.read("simpletuner")
    assert hub_files.missing(simpletuner, "sdxl")
    assert not hub_files.missing(simpletuner, "sdxl", is_folder=True)
    row = simpletuner.hub[simpletuner.families["sdxl"].hub[0]]
    root = hub_files.hub_cache() / "models--stabilityai--stable-diffusion-xl-base-1.0"
    for name in ("refs/main", *(f"snapshots/abc/{name}" for name in row.files)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("abc")
    assert not hub_files.missing(simpletuner, "sdxl")
