"""Tiny taggers with the interface of each family, and the environment of ONNX Runtime where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import tiny_onnx
from trainer_core.captioning import taggers
from trainer_core.install import tool_environments

SIDE = 8
TAGS = ("brown_hair", "green_eyes", "blue_sky", "^_^", "left_edge", "emma_(novel)")
"""The tags of every tiny model: the first three answer to the average of red, green and blue, "left_edge" to the red of the left edge."""
FACTOR = 6.0
"""The logit of a colour is this times its share, minus half of this."""


def environment() -> Path:
    """The folder of the environment of ONNX Runtime. Skips the test if it is not installed."""
    if tool_environments.installed("onnx") is None:
        pytest.skip(
            "the environment of ONNX Runtime is not installed: easel tools fetch-captioner --model wd-vit-tagger-v3 --folder ."
        )
    return tool_environments.get("onnx").folder


def in_home(home: Path, installed: Path) -> None:
    """Gives another EASEL_HOME the installed environment."""
    folder = home / "environments" / "onnx"
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        folder.symlink_to(installed)


def write(model: str, folder: Path) -> Path:
    """The folder with a tiny model that has the interface of a tagger."""
    row = taggers.get(model)
    how = row.preparation
    place = {"red": 0, "green": 1, "blue": 2} if how.channels == "RGB" else {"red": 2, "green": 1, "blue": 0}
    # The value of an input is (v * scale - mean) / deviation, so this turns it back into v / 255.
    scale, mean = how.deviation, how.mean
    unit = 1 / (255 * how.scale)
    weights, bias = [], []
    for colour in ("red", "green", "blue"):
        channel = place[colour]
        weights.append(tiny_onnx.everywhere(SIDE, channel, FACTOR * scale[channel] * unit))
        bias.append(FACTOR * mean[channel] * unit - FACTOR / 2)
    weights.append({})
    bias.append(4.0)
    red = place["red"]
    edge = {(y, 0, red): FACTOR * scale[red] * unit / SIDE for y in range(SIDE)}
    weights.append(edge)
    bias.append(FACTOR * mean[red] * unit - FACTOR / 2)
    weights.append({})
    bias.append(3.0)
    names = {value: key for key, value in row.categories.items()}
    listed = [(name, names["general"]) for name in TAGS[:5]] + [(TAGS[5], names["character"])]
    if "rating" in names:
        listed += [("safe", names["rating"]), ("explicit", names["rating"])]
        weights += [{}, {}]
        bias += [1.0, -1.0]
    kind = "sigmoid" if row.activation == "none" else "logits"
    # The wanted output is not the first one.
    outputs = {"other": "negative", row.output: kind} if row.output else {"output": kind}
    shape = ["N", SIDE, SIDE, 3] if how.layout == "NHWC" else ["N", 3, SIDE, SIDE]
    matrix = tiny_onnx.weights(SIDE, how.layout, weights)
    tiny_onnx.write(folder / row.model, matrix, np.array(bias, "float32"), shape, outputs)
    form = {"csv": tiny_onnx.labels_csv, "mapping": tiny_onnx.labels_mapping, "metadata": tiny_onnx.labels_metadata}
    (folder / row.labels).write_text(form[row.form](listed), "utf-8")
    if row.preprocess:
        (folder / row.preprocess).write_text(_preprocess(row))
    return folder


def _preprocess(row: taggers.Tagger) -> str:
    import json

    how = row.preparation
    size = [how.side, how.side]
    scaled = {"type": "resize", "size": size, "interpolation": how.resample}
    if how.fit == "pad":
        scaled = {
            "type": "pad_to_size",
            "size": size,
            "background_color": list(how.background),
            "interpolation": how.resample,
        }
    stages = [{"type": "convert_rgb"}, scaled, {"type": "to_tensor"}]
    stages.append({"type": "normalize", "mean": list(how.mean), "std": list(how.deviation)})
    return json.dumps({"stages": stages})


def expected(row: taggers.Tagger, red: float, green: float, blue: float) -> dict[str, float]:
    """The probabilities of the first three tags of an image whose input has these average shares of the channels."""
    return {
        name: 1 / (1 + np.exp(FACTOR / 2 - FACTOR * share))
        for name, share in zip(TAGS, (red, green, blue), strict=False)
    }
