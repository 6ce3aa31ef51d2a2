"""The network with which a distilled model is trained is downloaded by one click, and then it is used."""

from pathlib import Path

import pytest

from tests.support.misbehaving import model, part, send, stalls
from tests.support.page import button, click, markup, wait_for
from trainer_core import places, tools
from trainer_core.errors import EaselError
from trainer_core.prepare import native
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import Task

REPO = "ostris/zimage_turbo_training_adapter"
FILE = "zimage_turbo_training_adapter_v2.safetensors"
LABEL = f"Download the adapter ({FILE}) and use it"
LORA = model(key="diffusion_model.layers.0.attention.to_q.lora_A.weight", size_bytes=3 << 20)
OPTION = "assistant_lora_path"


@pytest.fixture
def app(open_app, hub):
    hub.hub(REPO, {FILE: LORA})
    return open_app({"model.family": "z_image", "model.variant": "turbo"}, engine="simpletuner")


def chosen(app):
    return native.native_of(app.session.bench.state, "simpletuner").get(OPTION, "")


def once_slow():
    """Stops within the first answer that has the whole file, not within its header."""
    slow = [stalls(1 << 20, 60)]

    def answer(handler, served):
        is_whole = len(part(handler, served)[2]) > len(LORA) // 2
        (slow.pop() if slow and is_whole else send)(handler, served)

    return answer


def test_one_click_downloads_the_adapter_goes_on_after_a_stop_and_uses_it(app, hub):
    hub.put(f"/cdn/{REPO}/{FILE}", LORA, always=once_slow())
    click(button(app.root, LABEL))
    tool, folder = app.launch.problems.tool, places.models() / "loras"
    wait_for(lambda: "Downloading: 0 of 3 MiB" in markup(tool.widget))
    wait_for(lambda: any(each.stat().st_size >= 1 << 19 for each in folder.glob(".*.part")))
    click(tool.stop)
    wait_for(lambda: "It was stopped." in markup(tool.widget))
    assert not chosen(app)
    wait_for(lambda: not tool.jobs.is_live)
    click(button(app.root, LABEL))
    wait_for(lambda: chosen(app))
    assert Path(chosen(app)) == folder / FILE
    assert (folder / FILE).read_bytes() == LORA
    wait_for(lambda: app.session.message == "The file is used now.")
    assert not [each for each in app.session.problems if OPTION in each.path]
    assert any(
        each.range.startswith("bytes=") and each.range != "bytes=0-" for each in hub.asked(f"/cdn/{REPO}/{FILE}")
    )


def test_a_file_that_was_downloaded_for_one_model_is_not_set_for_another(app, hub):
    hub.put(f"/cdn/{REPO}/{FILE}", LORA)
    click(button(app.root, LABEL))
    with app.session.lock:
        app.session.change({"model.path": "/models/another.safetensors"})
    wait_for(lambda: app.session.message.startswith("The file is at "))
    assert not chosen(app)


def test_a_list_of_files_gets_the_file_in_addition_to_those_it_has():
    bench = Workbench(engine="musubi")
    for file in ("/a/one.safetensors", "/a/two.safetensors"):
        bench.set(native.with_file(bench, "native.musubi.base_weights", file))
    assert native.native_of(bench.state, "musubi")["base_weights"] == ["/a/one.safetensors", "/a/two.safetensors"]
    bench.set(native.set_native(bench, "native.musubi.base_weights", "/a/two.safetensors"))
    for file in ("/a/one.safetensors", "/a/one.safetensors"):
        bench.set(native.with_file(bench, "native.musubi.base_weights", file))
    assert native.native_of(bench.state, "musubi")["base_weights"] == ["/a/two.safetensors", "/a/one.safetensors"]
    assert native.with_file(bench, "model.vae", "/a/vae.safetensors") == {"model.vae": "/a/vae.safetensors"}


def test_a_fix_that_names_no_link_or_unknown_settings_starts_nothing(home):
    for arguments, said in (({"link": "/etc/passwd"}, "not a link"), ({"link": REPO, "colour": "red"}, "colour")):
        with pytest.raises(EaselError, match=said):
            tools.begin(Task("bring", arguments, "model.vae"))
    assert not places.jobs().exists()
