"""A run that continues another one gets its files as links, also where a checkpoint is a file of the state."""

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
