"""Sharing profiles: from files, links and the Hub, from runs and LoRAs, and with the command line."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from tests.support import misbehaving as bad
from tests.support.downloading import server, shared_server
from tests.support.played import fingerprint
from trainer_core import profiles
from trainer_core.cli import easel
from trainer_core.engines import registry
from trainer_core.errors import DownloadError, ProfileError
from trainer_core.models import downloads
from trainer_core.plan import fields
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training.run import Run

__all__ = ["server", "shared_server"]

QUICK = downloads.Patience(connect_s=30, read_s=30, attempts=2, first_wait_s=0.01, longest_wait_s=0.1)
HASTY = dataclasses.replace(QUICK, read_s=1)
MINE = """format = 2
id = "mine"
title = "Mine"
family = "sdxl"
method = "lora"
use = "style"
explanation = "For tests."
[settings.network]
rank = 48
[reasons.network]
rank = "Because."
"""
BODY = MINE.encode()
PATH = "/files/mine.toml"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run():
    """The command line in this process: exit code and output."""

    def call(*arguments, answer=""):
        done = CliRunner().invoke(easel, ["profiles", *map(str, arguments)], input=answer)
        if isinstance(done.exception, ProfileError):
            return 1, str(done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return call


def take(text, wanted_id="", patience=QUICK):
    return profiles.incoming(text, wanted_id, patience)


# Importing


def test_a_file_is_shown_with_what_it_changes_and_written_only_after_a_yes(run, tmp_path, home):
    file = tmp_path / "theirs.toml"
    file.write_text(MINE)
    code, output = run("import", file, answer="n\n")
    assert code == 1
    assert "network.rank" in output
    assert "16" in output
    assert "48" in output
    assert not home.exists()
    code, output = run("import", file, answer="y\n")
    assert code == 0
    assert profiles.load(home / "profiles" / "mine.toml") == profiles.loads(MINE)
    assert sorted(path.name for path in (home / "profiles").iterdir()) == ["mine.toml"]
    assert profiles.known()["mine"].settings["network.rank"] == 48
    assert "mine" in [profile.id for profile in profiles.for_family("sdxl")]
    file.write_text(MINE.replace("48", "64"))
    code, output = run("import", file, "--yes")
    assert code == 0
    assert "your profile mine" in output
    assert profiles.known()["mine"].settings["network.rank"] == 64


def test_a_shipped_profile_is_never_replaced(run, tmp_path, home):
    file = tmp_path / "theirs.toml"
    file.write_text(MINE.replace('"mine"', '"sdxl-style"'))
    code, output = run("import", file, "--yes")
    assert code == 1
    assert "sdxl-style" in output
    assert "--id" in output
    assert not home.exists()
    assert run("import", file, "--yes", "--id", "their-style")[0] == 0
    assert profiles.known()["their-style"].settings["network.rank"] == 48
    # A file that was copied there by hand is reported, and not used.
    (home / "profiles" / "by-hand.toml").write_text(file.read_text())
    assert profiles.known()["sdxl-style"] == profiles.shipped()["sdxl-style"]
    assert [error.key for error in profiles.own()[1]] == ["id"]


def test_invalid_files_in_the_own_folder_are_skipped_and_reported(home):
    folder = home / "profiles"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(MINE)
    (folder / "broken.toml").write_text("x = ")
    (folder / "twice.toml").write_text(MINE)
    (folder / "gone.toml").symlink_to(folder / "nowhere")
    found, errors = profiles.own()
    assert set(found) == {"mine"}
    assert len(errors) == 2


def test_a_symbolic_link_at_the_path_of_the_file_is_replaced_and_not_followed(tmp_path, home):
    (home / "profiles").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (home / "profiles" / "mine.toml").symlink_to(victim)
    profiles.save(profiles.loads(MINE))
    assert victim.read_text() == "precious"
    assert profiles.load(home / "profiles" / "mine.toml").id == "mine"


def test_from_a_link(server, home):
    found = take(server.put(PATH, BODY))
    assert found.profile == profiles.loads(MINE)
    assert [(row.path, row.before, row.after) for row in found.changes] == [("network.rank", 16, 48)]
    assert not home.exists()


def test_from_the_hub_by_file_and_by_repository(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.put("/org/recipes/resolve/main/sdxl/mine.toml", BODY)
    listing = {"siblings": [{"rfilename": "README.md"}, {"rfilename": "sdxl/mine.toml"}]}
    server.put("/api/models/org/recipes", json.dumps(listing).encode())
    page = f"{server.url}/org/recipes/blob/main/sdxl/mine.toml"
    for text in ("hub:org/recipes/sdxl/mine.toml", "hub:org/recipes", "hub:org/recipes/sdxl", "org/recipes", page):
        assert take(text).profile.id == "mine", text
    listing["siblings"].append({"rfilename": "sdxl/\u202eevil.toml"})
    server.put("/api/models/org/recipes", json.dumps(listing).encode())
    with pytest.raises(DownloadError, match="2 profiles") as refused:
        take("hub:org/recipes")
    assert refused.value.message.isprintable()
    server.put("/api/models/org/recipes", b'{"siblings": 4}')
    with pytest.raises(DownloadError, match="cannot be read"):
        take("hub:org/recipes")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")
    with pytest.raises(DownloadError, match="does not contact Hugging Face"):
        take("hub:org/recipes/sdxl/mine.toml")


def test_a_token_is_sent_only_to_the_hub(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_sehrgeheim0815")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.put("/cdn/mine.toml", BODY)
    server.put("/org/recipes/resolve/main/mine.toml", b"", always=bad.redirect(f"{server.elsewhere}/cdn/mine.toml"))
    assert take("hub:org/recipes/mine.toml").profile.id == "mine"
    assert "authorization" in server.asked("/org/recipes/resolve/main/mine.toml")[0].headers
    assert "authorization" not in server.asked("/cdn/mine.toml")[0].headers


def drips(handler, served):
    """A byte now and then, each within the timeout for one."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    for byte in served.body:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        bad.time.sleep(0.1)


def drips_headers(handler, served):
    """A header now and then, each within the timeout for one, and never the body."""
    handler.send_response(200)
    for number in range(400):
        handler.send_header(f"X-{number}", "a")
        handler.flush_headers()
        handler.wfile.flush()
        bad.time.sleep(0.2)


PAGE = b"<!DOCTYPE html><title>Sign in</title>"
FAULTS = {
    "a page": (PAGE, bad.answers(200, {"Content-Type": "text/html"}, PAGE), "web page"),
    "a page that calls itself a file": (PAGE, bad.answers(200, {}, PAGE), "web page"),
    "ten megabytes": (b"#" * 10_000_000, None, "larger than 64 kB"),
    "ten megabytes without a length": (b"#" * 10_000_000, bad.chunked, "larger than 64 kB"),
    "too short": (BODY, bad.wrong_length(len(BODY) + 500), "was lost|stopped sending"),
    "cut off": (BODY, bad.drops(50), "was lost|stopped sending"),
    "silent": (BODY, bad.stalls(20, 2.5), "stopped sending"),
    "a byte now and then": (BODY, drips, "too long"),
    "a header now and then": (BODY, drips_headers, "too long"),
    "a part that nobody asked for": (
        BODY,
        bad.answers(206, {"Content-Range": "bytes 0-9/99"}, BODY[:10]),
        "only a part",
    ),
    "round and round": (BODY, bad.redirect(PATH), "redirects too many times"),
    "to a file of this machine": (BODY, bad.redirect("file:///etc/passwd"), "does not follow"),
    "missing": (BODY, bad.answers(404), "has no"),
    "forbidden": (BODY, bad.answers(403), "denies access to"),
    "broken": (BODY, bad.answers(500, {}, b"\x1b[31mboom"), "server error"),
    "nothing": (b"", bad.answers(200), "is empty"),
    "packed": (BODY, bad.answers(200, {"Content-Encoding": "gzip"}, BODY), "compressed"),
    "a model": (bad.model(size_bytes=2000), None, "NUL"),
    "an image": (b"\x89PNG\r\n\x1a\n\x00\x00", None, "NUL"),
}
SLOW = ("silent", "a byte now and then", "a header now and then")


@pytest.mark.parametrize("fault", FAULTS)
def test_from_a_server_that_misbehaves(fault, server, home, tmp_path):
    body, always, reason = FAULTS[fault]
    url = server.put(PATH, body, always=always)
    began = bad.time.monotonic()
    with pytest.raises((DownloadError, ProfileError), match=reason) as refused:
        take(url, patience=HASTY if fault in SLOW else QUICK)
    assert refused.value.message.isprintable()
    assert bad.time.monotonic() - began < 25
    assert not home.exists()


def test_a_temporary_failure_is_tried_again(server):
    assert take(server.put(PATH, BODY, bad.answers(503))).profile.id == "mine"
    assert take(server.put(PATH, BODY, bad.drops(50))).profile.id == "mine"


def test_a_server_that_cannot_be_reached(home):
    with pytest.raises(DownloadError, match="cannot be reached"):
        take("http://127.0.0.1:9/mine.toml")
    with pytest.raises(DownloadError, match="does not store profiles"):
        take("civitai:123")
    for path in ("nowhere.toml", "org/nowhere.toml", "./~/nowhere.toml"):
        with pytest.raises(ProfileError, match="cannot be read"):
            take(path)


# Showing and checking


def test_show_prints_value_reason_and_source(run):
    code, output = run("show", "sdxl-style")
    assert code == 0
    assert "mistake" in output
    assert "Not tested" in output
    data = json.loads(run("show", "sdxl-style", "--json")[1])
    rate = data["values"]["optimizer.learning_rate"]
    assert (rate["value"], rate["title"]) == (1.0, "Learning rate")
    assert "[prodigy]" in rate["reason"]
    assert "prodigy" in [source["id"] for source in data["sources"]]
    assert run("show", "nobody")[0] == 1


def test_list_filters_by_family_and_includes_own_profiles(run):
    profiles.save(profiles.loads(MINE))
    rows = {row["id"]: row for row in json.loads(run("list", "--json", "--family", "sdxl")[1])}
    assert rows["mine"]["own"]
    assert not rows["sdxl-style"]["own"]
    assert {row["family"] for row in rows.values()} == {"sdxl"}
    assert "flux-style" in run("list")[1]


def test_check_exits_with_0_3_or_1_and_the_reason(run, tmp_path):
    good, wrong = tmp_path / "good.toml", tmp_path / "wrong.toml"
    good.write_text(MINE)
    wrong.write_text(MINE.replace("rank = 48", "rank = 0"))
    assert run("check", good, *profiles.shipped_folder().glob("*/*.toml"))[0] == 0
    code, output = run("check", good, wrong, "--json")
    assert code == 3
    assert [(row["key"], bool(row["error"])) for row in json.loads(output)] == [
        ("", False),
        ("settings.network.rank", True),
    ]
    code, output = run("check", wrong, tmp_path / "missing.toml", good)
    assert code == 1
    assert "settings.network.rank" in output
    assert "missing.toml" in output


# Exporting

SECRET = f"hf_{'a' * 30}"


def plan(**changed):
    flat = {
        "model.path": "/home/elena/private/model.safetensors",
        "model.family": "sdxl",
        "dataset.path": "/home/elena/images",
        "dataset.trigger": "ohwx",
        "output.name": "elena_secret",
        "output.copy_to": "/home/elena/ComfyUI",
        "network.rank": 24,
        "sampling.prompt": "Ohwx on a beach",
        "memory.mixed_precision": "fp16",
        **changed,
    }
    return TrainingPlan.model_validate({**fields.nest(flat), "native": {"kohya": {"ip_noise_gamma": 0.1}}})


def test_a_run_becomes_a_profile_without_private_data(run, images):
    job = plan(**{"sampling.negative_prompt": f"{SECRET} /home/elena/x", "optimizer.learning_rate": 1.0})
    job = job.model_copy(update={"optimizer": job.optimizer.model_copy(update={"name": "Prodigy"})})
    made = Run.prepare(job, registry.get("rehearsal"), images, chosen={"profile": "sdxl-style"})
    code, output = run("export", "--from-run", made.folder.path, "--id", "for-you", "--title", "For you")
    assert code == 0
    for word in ("elena", "ohwx", "Ohwx", SECRET, "/home", "ip_noise_gamma", "fp16"):
        assert word not in output, word
    text = output[output.index("format = 2") :]
    profile = profiles.loads(text)
    assert (profile.id, profile.family, profile.use) == ("for-you", "sdxl", "style")
    assert profile.settings["network.rank"] == 24
    assert profile.settings["sampling.prompt"] == "{trigger} on a beach"
    assert "mistake" in profile.reasons["optimizer.learning_rate"], "the profile's own value keeps its reason"
    assert "network.rank" not in profile.reasons
    assert "Negative prompt was left out" in output
    assert "Native settings were left out" in output


def test_a_plan_file_and_a_profile_are_exported_only_to_a_new_file(run, tmp_path):
    file, out = tmp_path / "plan.toml", tmp_path / "out.toml"
    file.write_text('engine = "kohya"\n[model]\nfamily = "flux"\npath = "/m"\n[network]\nrank = 20\n')
    assert run("export", "--from-plan", file, "--out", out)[0] == 0
    assert profiles.load(out).settings == {"model.method": "lora", "network.rank": 20}
    before = fingerprint(tmp_path)
    assert run("export", "sdxl-style", "--out", out)[0] == 1
    assert fingerprint(tmp_path) == before
    assert run("export", "sdxl-style", "--out", tmp_path / "two.toml")[0] == 0
    assert profiles.load(tmp_path / "two.toml") == profiles.shipped()["sdxl-style"]
    assert run("export")[0] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = " + b"[" * 50_000, "cannot be read as a plan"),
        (b"a = '\xff'", "cannot be read as a plan"),
        (b"#" * 70_000, "larger than 64 kB"),
        (b"[network]\nrank = 20", "--family"),
        (b"[model]\nfamily = 'sdxl'\n[network]\nrank = 'x'", "settings.network.rank"),
    ],
)
def test_an_invalid_plan_file_is_refused(content, said, run, tmp_path):
    file = tmp_path / "plan.toml"
    file.write_bytes(content)
    code, output = run("export", "--from-plan", file)
    assert code == 1
    assert said in output
    assert run("export", "--from-plan", tmp_path)[0] == 1


def test_family_sets_the_family_of_a_plan_without_one(run, tmp_path):
    file = tmp_path / "plan.toml"
    file.write_text("[network]\nrank = 20\n")
    code, output = run("export", "--from-plan", file, "--family", "flux")
    assert (code, profiles.loads(output).family) == (0, "flux")
    assert run("export", "--from-plan", file, "--family", "nothing")[0] == 2
