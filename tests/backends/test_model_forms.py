"""In which forms sd-scripts reads the files of a model: what Easel says of each, and what the engine's own loaders do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import model_forms
from trainer_core.child import child_environment
from trainer_core.engines import parts, registry, trainable
from trainer_core.install import environments
from trainer_core.models import detection, header
from trainer_core.models.detection import Detection
from trainer_core.models.renaming import Form

KOHYA = registry.get("kohya").manifest
READ = {
    ("sd15.vae", "sd-vae-ldm"): True,
    ("sdxl.vae", "sd-vae-diffusers"): False,
    ("sd15.vae", "sd-vae-with-prefix"): True,
    ("sd3.vae", "vae-ldm"): True,
    ("sd3.vae", "vae-diffusers"): False,
    ("sd3.vae", "vae-with-prefix"): False,
    ("sd3.clip_l", "clip-l"): True,
    ("sd3.clip_l", "clip-l-openclip"): False,
    ("sd3.clip_g", "clip-g"): True,
    ("sd3.clip_g", "clip-g-openclip"): False,
    ("flux.vae", "vae-ldm"): True,
    ("flux.vae", "vae-diffusers"): False,
    ("flux.vae", "vae-with-prefix"): False,
    ("flux.clip_l", "clip-l"): True,
    ("flux.clip_l", "clip-l-openclip"): False,
    ("flux.clip_l", "clip-l-bare"): False,
    ("flux.clip_l", "clip-l-with-prefix"): False,
    ("flux.t5xxl", "t5"): True,
    ("flux.t5xxl", "t5-without-shared"): True,
    ("flux.t5xxl", "t5-with-prefix"): False,
    ("lumina2.vae", "vae-ldm"): True,
    ("lumina2.vae", "vae-diffusers"): False,
    ("lumina2.vae", "vae-with-prefix"): True,
    ("lumina2.gemma2", "gemma"): True,
    ("lumina2.gemma2", "gemma-bare"): True,
    ("lumina2.gemma2", "gemma-with-head"): False,
    ("hunyuan_image.vae", "hunyuan-vae-original"): True,
    ("hunyuan_image.vae", "hunyuan-vae-diffusers"): False,
    ("anima.vae", "qwen-vae-original"): True,
    ("anima.vae", "qwen-vae-diffusers"): True,
    ("flux.path", "flux"): True,
    ("flux.path", "flux-of-comfyui"): False,
    ("flux.path", "flux-with-prefix"): True,
    ("flux.path", "flux-all-in-one"): True,
    ("flux.path", "flux-after-its-vae"): False,
    ("chroma.path", "chroma-of-comfyui"): False,
    ("sd3.path", "sd3-bare"): False,
    ("lumina2.path", "neta"): True,
}
"""Whether the loader of a family and setting reads a form."""
INSIDE = {
    ("lumina2.vae", "neta"): True,
    ("lumina2.gemma2", "neta"): True,
    ("lumina2.vae", "neta-without-scale"): True,
    ("lumina2.gemma2", "neta-without-scale"): False,
    ("flux.vae", "flux-all-in-one"): False,
}
"""Whether the loader of a part reads it from a model's own file."""
ASKED = {**READ, **INSIDE}


def seen(name: str, folder: Path) -> Detection:
    return detection.detect(header.read(model_forms.write(name, folder)))


def says(what: str, found: Detection) -> str:
    """What Easel says against a file for a setting of a family; "" when nothing."""
    family, _, setting = what.partition(".")
    if setting == "path":
        return trainable.why_not(found, KOHYA)
    return parts.unread(found, setting, KOHYA.families[family], KOHYA.title)


@pytest.mark.parametrize(("what", "name"), READ)
def test_easel_says_which_forms_the_engine_reads(what: str, name: str, tmp_path: Path) -> None:
    assert (not says(what, seen(name, tmp_path))) == READ[what, name], says(what, seen(name, tmp_path))


@pytest.mark.parametrize(("what", "name"), INSIDE)
def test_easel_says_which_parts_the_engine_reads_from_the_model(what: str, name: str, tmp_path: Path) -> None:
    family, _, setting = what.partition(".")
    assert (setting in parts.own(seen(name, tmp_path), KOHYA.families[family])) == INSIDE[what, name]


@pytest.mark.parametrize(("what", "name"), [case for case, is_read in READ.items() if not is_read])
def test_every_form_that_is_not_read_can_be_renamed_to_one_that_is(what: str, name: str, tmp_path: Path) -> None:
    family, _, setting = what.partition(".")
    found = seen(name, tmp_path)
    if setting == "path":
        prefix = KOHYA.families[family].prefixes[0]
        assert parts.renamed_model(found, KOHYA) == Form("original", prefix)
    else:
        to = parts.wanted(found.variant, found, setting, KOHYA.families[family])
        assert to is not None
        assert not says(what, Detection(None, found.role, found.variant, layout=to.layout, prefix=to.prefix))


def test_a_language_model_is_not_renamed_without_its_image_encoder(tmp_path: Path) -> None:
    found = seen("qwen25-of-transformers-5", tmp_path)
    assert says("hunyuan_image.qwen", found)
    assert parts.wanted(found.variant, found, "qwen", KOHYA.families["hunyuan_image"]) is None


def test_a_prefix_that_the_engine_does_not_remove_can_be_renamed_away(tmp_path: Path) -> None:
    found = seen("anima-with-prefix", tmp_path)
    assert says("anima.path", found)
    assert parts.renamed_model(found, KOHYA) == Form("original", "")


@pytest.mark.backend
@pytest.mark.timeout(1200)
def test_the_loaders_of_the_engine_agree(tmp_path: Path) -> None:
    installed = environments.installed("kohya")
    if installed is None or installed.source is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    files = [(what, str(model_forms.write(name, tmp_path))) for what, name in ASKED]
    script = Path(model_forms.__file__).with_name("real_loaders_kohya.py")
    task = json.dumps({"sources": str(installed.source), "files": files})
    done = subprocess.run(
        [str(installed.python), str(script), task],
        capture_output=True,
        text=True,
        timeout=900,
        env=child_environment({"HF_HUB_OFFLINE": "1"}),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(zip(ASKED, json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert {case: not reason for case, reason in said.items()} == ASKED, said
