"""A run that continues another one gets its files as links, also where a checkpoint is a file of the state."""

import os

from tests.support import engine_plans
from trainer_core.engines import registry
from trainer_core.engines.seam import ArtefactPattern, StatePattern
from trainer_core.training import restage
from trainer_core.training.folder import RunFolder


def test_a_checkpoint_inside_of_the_state_is_linked_once(tmp_path):
    before, after = RunFolder.create(tmp_path, "before"), RunFolder.create(tmp_path, "after")
    for step in (5, 10):
        saved = before.output / f"checkpoint-{step}"
        saved.mkdir(parents=True)
        (saved / "weights.safetensors").write_bytes(b"weights %d" % step)
        (saved / "optimizer.bin").write_bytes(b"state %d" % step)
    checkpoints = ArtefactPattern(
        "checkpoint-*/weights.safetensors", r"^checkpoint-(?P<step>\d+)/weights\.safetensors$"
    )
    states = StatePattern("checkpoint-*", r"^checkpoint-(?P<step>\d+)$", named="checkpoint-{step}")
    restage.checkpoints(before, after, checkpoints, 10)
    made = restage.state(before.output / "checkpoint-10", before, after, states, 10)
    assert made == after.output / "checkpoint-10"
    assert (made / "optimizer.bin").read_bytes() == b"state 10"
    assert (made / "weights.safetensors").samefile(before.output / "checkpoint-10" / "weights.safetensors")
    assert [path.name for path in sorted((after.output / "checkpoint-5").iterdir())] == ["weights.safetensors"]


def test_control_images_are_staged_again_and_a_change_of_one_is_noticed(tmp_path):
    manifest = registry.get("simpletuner").manifest
    before, after = RunFolder.create(tmp_path, "before"), RunFolder.create(tmp_path, "after")
    originals = {name: tmp_path / f"{name}.png" for name in ("after-the-edit", "before-it")}
    for (name, original), folder in zip(originals.items(), ("dataset", "dataset_controls_1"), strict=True):
        original.write_bytes(name.encode())
        (before.path / folder).mkdir()
        (before.path / folder / "1-a.png").symlink_to(original)
    plan = engine_plans.plan("flux", dataset__controls=str(tmp_path))
    restage.dataset(before, after, manifest, plan)
    assert (after.path / "dataset_controls_1" / "1-a.png").read_bytes() == b"before-it"
    assert restage.changed(after, manifest) == []
    later = originals["before-it"].stat().st_mtime + 60
    os.utime(originals["before-it"], (later, later))
    assert restage.changed(after, manifest) == [str(originals["before-it"])]
    originals["before-it"].unlink()
    assert restage.gone(after, manifest) == [str(originals["before-it"])]
