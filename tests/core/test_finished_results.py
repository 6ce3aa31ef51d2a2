"""What is delivered: the engine's tensors bit by bit, with Easel's metadata, in names and with alphas that other programs read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import struct
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.support.played import judged
from tests.support.trained_models import asked, sd15, trained
from trainer_core import __version__
from trainer_core.engines import registry
from trainer_core.engines.seam import ArtefactPattern, Artefacts
from trainer_core.events import Step
from trainer_core.install.place import place_for
from trainer_core.jobs.journal import Journal
from trainer_core.jobs.state import JobState
from trainer_core.models import header
from trainer_core.plan.sections import TrainingPlan
from trainer_core.training import bare_part, metadata
from trainer_core.training.finishing import Finishing
from trainer_core.training.folder import RunFolder
from trainer_core.training.metadata import keys
from trainer_core.training.outcome import TrainingOutcome

BACKEND = registry.get("rehearsal")
FILES = Artefacts(
    ArtefactPattern("toy.safetensors", "^toy.safetensors$"),
    ArtefactPattern("toy-step*.safetensors", r"^toy-step(?P<step>\d{8})\.safetensors$"),
    ArtefactPattern("none", "^none$"),
)
LAYERS = [f"down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_{which}" for which in "qkv"]
RANK = 4


class Ended:
    """A run whose engine has ended, with the files that a test writes."""

    def __init__(self, tmp_path: Path, family: str, **tables: Any) -> None:
        self.folder = RunFolder.create(tmp_path / "runs", "toy")
        spec = BACKEND.render(TrainingPlan(native={}), place_for(BACKEND, self.folder.path))
        self.spec = dataclasses.replace(spec, artefacts=FILES)
        plan = {
            "model": {"family": family, "method": "lora", "path": str(tmp_path / "secret" / "base.safetensors")},
            "network": {"algorithm": "lora", "rank": RANK, "alpha": 2.0},
            "dataset": {"trigger": "ohwx", "resolution": 512},
            "output": {"name": "toy", "folder": str(tmp_path / "out")},
            **tables,
        }
        versions = {"engine": "kohya", "engine_version": "48d368f"}
        self.folder.write_job(plan, self.spec, versions, {})
        self.folder.log.touch()

    def write(self, tensors: dict[str, np.ndarray], told: dict[str, str] | None = None, name: str = "toy") -> Path:
        path = self.folder.output / f"{name}.safetensors"
        save_file(tensors, path, told or {"format": "pt"})
        return path

    def judged(self) -> TrainingOutcome:
        return judged(self.folder, 0, self.spec)


def lora(naming: str, up: str, down: str, alpha: float | None = None) -> dict[str, np.ndarray]:
    """A LoRA of three layers of SDXL, with random numbers."""
    draw, found = np.random.default_rng(1), {}
    for layer in LAYERS:
        name = f"{naming}{layer.replace('.', '_') if naming.endswith('_') else layer}"
        found[name + down] = draw.normal(0, 1, (RANK, 6)).astype(np.float16)
        found[name + up] = draw.normal(0, 1, (5, RANK)).astype(np.float16)
        if alpha is not None:
            found[f"{name}.alpha"] = np.array(alpha, np.float16)
    return found


def kohya(alpha: float | None = 2.0) -> dict[str, np.ndarray]:
    return lora("lora_unet_", ".lora_up.weight", ".lora_down.weight", alpha)


def body(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 + struct.unpack("<Q", data[:8])[0] :]


def test_a_delivered_file_has_the_engines_tensors_and_easels_metadata(tmp_path: Path) -> None:
    here = Ended(tmp_path, "sdxl")
    source = here.write(kohya(), {"ss_network_dim": "4", "ss_output_name": f"{tmp_path}/x/toy"})
    here.write(kohya(), {"ss_network_dim": "4"}, "toy-step00000004")
    journal = Journal(here.folder.events)
    journal.write(Step(1, 0.5, 1e-4), Step(9, 0.4, 1e-4))
    original = source.read_bytes()
    found = here.judged()
    assert found.state is JobState.COMPLETED
    assert found.notices == []
    final, checkpoint = map(Path, found.outputs)
    assert source.read_bytes() == original
    assert body(final) == body(source)
    told = header.read_file(final).metadata
    assert told["ss_network_dim"] == "4"
    assert told["ss_output_name"] == "toy"
    assert told["modelspec.hash_sha256"] == f"0x{hashlib.sha256(body(final)).hexdigest()}"
    assert (told[keys.STEPS], told[keys.VERSION], told[keys.ENGINE]) == ("9", __version__, "kohya")
    assert (told[keys.BASE], told["modelspec.title"]) == ("base.safetensors", "toy")
    assert str(tmp_path) not in json.dumps(dict(told))
    assert header.read_file(checkpoint).metadata[keys.STEPS] == "4"
    assert metadata.read(told).values["network.rank"] == RANK
    assert found.acceptance is not None
    assert {name: each["loads"] for name, each in found.acceptance["loads"].items()} == {
        "ComfyUI": "yes",
        "diffusers": "yes",
    }


@pytest.mark.parametrize("prefixed", [True, False])
def test_alpha_in_the_metadata_becomes_a_tensor_and_names_become_readable(tmp_path: Path, prefixed: bool) -> None:
    here = Ended(tmp_path, "sdxl")
    prefix = "unet." if prefixed else ""
    stated = {
        f"{prefix}lora_alpha": 2.0,
        f"{prefix}r": RANK,
        f"{prefix}alpha_pattern": {},
        f"{prefix}use_rslora": False,
    }
    source = here.write(
        lora("unet.", ".lora_B.weight", ".lora_A.weight"), {"lora_adapter_metadata": json.dumps(stated)}
    )
    found = here.judged()
    assert found.state is JobState.COMPLETED, found.diagnosis
    made = Path(found.outputs[0])
    with safe_open(source, "numpy") as before, safe_open(made, "numpy") as after:
        for layer in LAYERS:
            name = f"lora_unet_{layer.replace('.', '_')}"
            assert after.get_tensor(f"{name}.alpha") == 2.0
            for old, new in ((".lora_B.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_down.weight")):
                assert before.get_tensor(f"unet.{layer}{old}").tobytes() == after.get_tensor(name + new).tobytes()
        assert "lora_adapter_metadata" not in after.metadata()
        assert "alpha" in after.metadata()[keys.CHANGES]
    assert any("renamed the tensors so that ComfyUI and diffusers can load" in notice for notice in found.notices)
    assert found.acceptance is not None
    assert all(each["loads"] == "yes" for each in found.acceptance["loads"].values())


def test_a_second_note_of_alpha_is_removed_because_diffusers_refuses_it(tmp_path: Path) -> None:
    here = Ended(tmp_path, "sdxl")
    source = here.write(
        kohya(), {"lora_adapter_metadata": json.dumps({"lora_alpha": 2.0, "r": RANK}), "sshs_model_hash": "0"}
    )
    found = here.judged()
    told = header.read_file(Path(found.outputs[0])).metadata
    assert "lora_adapter_metadata" not in told
    assert body(Path(found.outputs[0])) == body(source)
    assert "because of which diffusers refuses" in found.notices[0]


def test_a_file_without_any_alpha_gets_that_of_the_plan(tmp_path: Path) -> None:
    here = Ended(tmp_path, "sdxl", network={"algorithm": "lora", "rank": RANK, "alpha": float(RANK)})
    source = here.write(kohya(None))
    made = Path(here.judged().outputs[0])
    # Every program assumes alpha = rank, so nothing must change.
    assert body(made) == body(source)


def test_a_network_that_a_program_does_not_know_is_delivered_with_a_notice(tmp_path: Path) -> None:
    here = Ended(tmp_path, "sdxl", network={"algorithm": "ia3"})
    name = f"lora_unet_{LAYERS[0].replace('.', '_')}"
    here.write({f"{name}.weight": np.ones((4, 1), np.float16), f"{name}.on_input": np.array(True)})
    found = here.judged()
    assert found.state is JobState.COMPLETED, found.diagnosis
    assert any(notice.startswith("ComfyUI does not load this file: ComfyUI has no IA3") for notice in found.notices)


def test_an_unknown_family_is_not_known_and_never_a_yes(tmp_path: Path) -> None:
    here = Ended(tmp_path, "sana")
    here.write(kohya())
    found = here.judged()
    assert found.acceptance is not None
    assert {each["loads"] for each in found.acceptance["loads"].values()} == {"not known"}
    assert found.notices == []


def test_a_full_disk_delivers_the_engines_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Ended(tmp_path, "sdxl")
    source = here.write(kohya())
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - what shutil returns
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 1 << 20))
    found = here.judged()
    assert Path(found.outputs[0]).read_bytes() == source.read_bytes()
    assert "without Easel's metadata: the disk has only 1 MiB left" in found.notices[0]


def test_a_fully_trained_model_is_linked_and_not_copied(tmp_path: Path) -> None:
    base = tmp_path / "base.safetensors"
    save_file(sd15(), base)
    here = Ended(tmp_path, "sd15", **asked(base))
    source = here.write(trained(sd15()))
    found = here.judged()
    assert found.state is JobState.COMPLETED, found.diagnosis
    assert Path(found.outputs[0]).samefile(source)
    assert "keeps the engine's own metadata" in found.notices[-1]


@pytest.mark.parametrize(
    ("part", "words"), [("unet", "U-Net of Stable Diffusion XL"), ("transformer", "transformer of")]
)
def test_a_checkpoint_that_is_only_the_trained_part_is_called_that(tmp_path, part, words):
    run = Ended(tmp_path, "sdxl", model={"family": "sdxl", "method": "full", "path": str(tmp_path)})
    source = run.folder.output / "checkpoint-10" / part
    source.mkdir(parents=True)
    save_file({"conv_in.weight": np.ones(4, np.float32)}, source / "diffusion_pytorch_model.safetensors")
    ready = Finishing(run.folder, run.folder.plan, "toy")
    assert ready.made(source, 10) == source
    (said,) = ready.notices
    assert f"only the trained part: the {words}" in said
    assert f"replaces the folder {part}" in said
    assert ("Load Diffusion Model" in said) == (part == "unet")


def test_a_whole_model_and_a_network_are_not_called_a_part(tmp_path):
    whole = tmp_path / "unet"
    whole.mkdir()
    (whole / "model_index.json").write_text("{}")
    assert not bare_part.note(whole, {})
    assert not bare_part.note(tmp_path / "toy.safetensors", {})
