"""What the notebook for remote training asks of the core: kept settings, prices, plans, what is sent, and images of a style."""

import pytest

from tests.support.page import prepare
from trainer_core.errors import PlanError, RemoteError
from trainer_core.estimate import Estimate
from trainer_core.prepare.workbench import Workbench, for_trainer
from trainer_core.remote import (
    costs,
    credentials,
    kept_settings,
    outlook,
    sources,
    trainers,
)
from trainer_core.remote.machines import book

ENDPOINT = "MODEL_TRAINING_RUNPOD_ENDPOINT_ID"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    monkeypatch.chdir(tmp_path)
    for name in credentials.KNOWN:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "easel"


def known(seconds, *, is_known=True):
    return Estimate(100, 1.0, seconds, (8.0, 9.0), 8.0, 1.0, 10.0, (), is_time_known=is_known)


@pytest.mark.parametrize(
    ("text", "price"),
    [("0.69", 0.69), ("$0,69", 0.69), ("€ 1.2", 1.2), ("2 $", 2.0), ("", None), ("  ", None), ("0.69/h", 0.69)],
)
def test_a_price_is_read_as_people_write_it(text, price):
    assert costs.parsed(text) == price


@pytest.mark.parametrize("text", ["cheap", "-1", "1e3", "1.2.3", "nan"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(RemoteError, match="no price per hour"):
        costs.parsed(text)


def test_a_cost_is_the_time_at_the_price_with_the_start_of_a_rented_machine():
    found = costs.cost(known((3600.0, 7200.0)), 0.6)
    assert found.least == pytest.approx(0.6 * (3600 + 120) / 3600)
    assert found.most == pytest.approx(0.6 * (7200 + 900) / 3600)
    assert found.words == "0.62 to 1.35"
    assert costs.cost(known((3600.0, 3600.0)), 0.6, is_rented=False).words == "0.60"


def test_a_cost_that_is_not_known_is_not_shown():
    assert costs.cost(known((10.0, 3600.0), is_known=False), 0.6).words == ""
    assert costs.cost(None, 0.6).words == ""
    assert costs.cost(known((3600.0, 3600.0)), None).words == ""


def test_the_estimate_follows_the_gpu_that_is_named(home, tmp_path):
    bench = Workbench(engine="kohya")
    for_trainer(bench, None)
    bench.set(prepare(home) | {"native": {}})
    fast, slow = (costs.estimate_on(bench.state, name) for name in ("NVIDIA H100", "NVIDIA L4"))
    assert fast.seconds[1] < slow.seconds[1]
    assert costs.estimate_on(Workbench(engine="kohya").state, "NVIDIA L4") is None


def test_a_damaged_file_of_kept_settings_is_named_and_left_as_it_is(home):
    home.mkdir()
    kept_settings.path().write_text("version = 1\n[settings\n")
    with pytest.raises(RemoteError, match=r"remote\.toml is not TOML"):
        credentials.settings()
    with pytest.raises(RemoteError):
        kept_settings.keep_setting(ENDPOINT, "abc")
    assert kept_settings.path().read_text() == "version = 1\n[settings\n"


@pytest.mark.parametrize(
    "value",
    ["hf_" + "a1B2" * 9, "https://me:pass@example.com", "https://b.s3.amazonaws.com/k?X-Amz-Signature=1", "a\nb"],
)
def test_what_may_be_a_key_is_not_kept_and_not_repeated(value):
    with pytest.raises(RemoteError) as refused:
        kept_settings.keep_setting("S3_ENDPOINT_URL", value)
    assert value not in str(refused.value)
    assert not kept_settings.path().exists()


def test_a_secret_is_no_setting_that_is_kept():
    with pytest.raises(RemoteError, match="is not kept"):
        kept_settings.keep_setting("RUNPOD_API_KEY", "anything")


def test_a_kept_setting_counts_least(monkeypatch, tmp_path):
    kept_settings.keep_setting(ENDPOINT, "kept")
    assert credentials.settings().text(ENDPOINT) == "kept"
    (tmp_path / ".env").write_text(f"{ENDPOINT}=of-the-file\n")
    assert credentials.settings().text(ENDPOINT) == "of-the-file"
    kept_settings.keep_setting(ENDPOINT, "")
    (tmp_path / ".env").unlink()
    assert credentials.settings().text(ENDPOINT) == ""


def test_the_trainers_are_the_endpoint_the_machines_and_this_computer():
    kept_settings.keep_setting(ENDPOINT, "abc")
    book.keep(book.Entry("box", "me@box"))
    found = trainers.known(credentials.settings())
    assert [one.on for one in found] == ["runpod:abc", "ssh:box", ""]
    assert [one.price_key for one in found] == ["runpod", "ssh:box", "here"]
    assert "no bucket is set yet" in found[0].what


def test_a_plan_with_an_unknown_setting_changes_nothing(tmp_path):
    bench = Workbench(engine="rehearsal")
    bench.set({"network.rank": 24})
    (tmp_path / "plan.toml").write_text("[network]\nrank = 4\nrang = 4\n")
    with pytest.raises(PlanError, match=r"network\.rang"):
        sources.take_plan(bench, tmp_path / "plan.toml")
    assert bench.state.draft.values["network.rank"] == 24


def test_what_is_sent_is_counted_with_sizes(home):
    bench = Workbench(engine="rehearsal")
    bench.set(prepare(home))
    trainer = trainers.Trainer("ssh:box", "box", "me@box")
    found = outlook.look(bench.state, trainer)
    files = list((home / "images").iterdir())
    assert (found.images, found.captions) == (6, 6)
    assert found.image_bytes == sum(file.stat().st_size for file in files)
    [(name, size)] = found.models
    assert name == "sd15.safetensors"
    assert size == (home / "models" / "sd15.safetensors").stat().st_size
    told = dict(found.told)
    assert "sd15.safetensors" in told["Model"]
    assert "over ssh" in told["Images"]
