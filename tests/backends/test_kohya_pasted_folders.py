"""Pasted commands of sd-scripts with several image folders."""

from trainer_core.prepare import pasting
from trainer_core.prepare.workbench import Workbench


def bench():
    found = Workbench(engine="kohya")
    found.set({"model.family": "sdxl"})
    return found


def test_several_folders_of_images_are_not_mixed_up(tmp_path):
    for name in ("5_one", "10_two"):
        (tmp_path / "img" / name).mkdir(parents=True)
    offer = pasting.look(
        bench(), f"python train_network.py --train_data_dir {tmp_path / 'img'} --network_module networks.lora"
    )
    assert [each.kind for each in offer.items if each.option == "train_data_dir"] == ["setting"] * 4
    values, folder = offer.values, tmp_path / "img"
    assert (values["dataset.path"], values["dataset.repeats"]) == (str(folder / "10_two"), 10)
    assert values["dataset.subsets"] == ({"path": str(folder / "5_one"), "repeats": 5, "caption": "one"},)


def test_several_datasets_are_taken_with_what_each_has_of_its_own(tmp_path):
    described = """
[general]
caption_extension = ".txt"
enable_bucket = true
[[datasets]]
resolution = 1024
batch_size = 2
validation_split = 0.1
[[datasets.subsets]]
image_dir = "/images/mika"
num_repeats = 10
shuffle_caption = true
keep_tokens = 1
[[datasets.subsets]]
image_dir = "/images/dogs"
is_reg = true
class_tokens = "dog"
[[datasets]]
resolution = 512
batch_size = 4
[[datasets.subsets]]
image_dir = "/images/more"
conditioning_data_dir = "/masks"
alpha_mask = true
"""
    (tmp_path / "data.toml").write_text(described)
    command = f"python sdxl_train_network.py --dataset_config {tmp_path / 'data.toml'} --network_module networks.lora"
    offer = pasting.look(bench(), f"{command} --masked_loss --validate_every_n_steps 50")
    values = offer.values
    assert (values["dataset.path"], values["dataset.repeats"], values["schedule.batch_size"]) == ("/images/mika", 10, 2)
    assert (values["dataset.class_path"], values["dataset.class_caption"]) == ("/images/dogs", "dog")
    assert (values["dataset.validation_share"], values["dataset.validate_every"]) == (0.1, 50)
    assert values["dataset.subsets"] == (
        {
            "path": "/images/more",
            "repeats": 1,
            "resolution": 512,
            "shuffle_captions": False,
            "keep_tokens": 0,
            "masks": "/masks",
            "alpha_masks": True,
            "validation_share": 0.0,
        },
    )
    (one,) = [each for each in offer.items if each.option.startswith("batch_size")]
    assert (one.kind, one.shown) == ("refused", "4")
