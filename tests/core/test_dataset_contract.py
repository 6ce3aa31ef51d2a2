"""A scan gives the same result as the engines' own dataset code, on many folders, where an engine is installed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import wild_folders
from trainer_core.datasets import folders
from trainer_core.datasets.defects import DEFECTS
from trainer_core.datasets.scan import Dataset, scan
from trainer_core.datasets.stage import stage
from trainer_core.engines import registry
from trainer_core.install import environments

FOLDERS = 240
REPEATS = 3
WILDCARDS = {"enable_wildcard": True}
NAMES = ("10_elena woman", "1_woman", "3_", "elena", "0_x", "-2_x", "elena_10", "12_a_b", "2.5_x", "999_x")
"""Names of folders, for kohya's layout. Easel reads 01_day and 7 as the user's own order, and more than 1000 as a year."""

EVERYTHING = """mask_left_out regularisation subset sub_folder ending case hidden damaged html empty dead_link turned
colour_profile caption_missing_mixed caption_not_utf8 caption_blank_mixed many_lines borrowed condition orphan_caption"""

# Each runs inside the engine. It prints what the engine lists in each folder, and what it reads from each staged folder.
KOHYA = """
import argparse, json, os, sys
source, table = sys.argv[1:]
sys.path.insert(0, source)
from PIL import Image
from library import config_util, train_util
work, found = json.load(open(table)), []
for each in work["folders"]:
    seen = sorted(os.path.basename(path) for path in train_util.glob_images(each["raw"]))
    rows, count = [], 0
    if each["images"]:
        subset = {"image_dir": each["staged"], "num_repeats": each["repeats"], "enable_wildcard": each["wildcards"]}
        dataset = {"batch_size": 1, "subsets": [subset]}
        general = {"enable_bucket": True, "resolution": 256, "min_bucket_reso": 64, "caption_extension": ".txt"}
        sanitizer = config_util.ConfigSanitizer(True, True, False, True)
        arguments = argparse.Namespace(prior_loss_weight=1.0, debug_dataset=False)
        user = {"general": general, "datasets": [dataset]}
        blueprint = config_util.BlueprintGenerator(sanitizer).generate(user, arguments)
        group = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
        group = group[0] if isinstance(group, tuple) else group
        infos = sorted(group.datasets[0].image_data.values(), key=lambda info: info.absolute_path)
        rows = [[info.caption, *(info.image_size or Image.open(info.absolute_path).size)] for info in infos]
        count = group.num_train_images
    found.append({"seen": seen, "rows": rows, "count": count})
subsets = config_util.generate_dreambooth_subsets_config_by_subdirs(work["layout"])
said = {os.path.basename(each["image_dir"]): [each["num_repeats"], each["class_tokens"]] for each in subsets}
print("PROBE " + json.dumps({"folders": found, "layout": said}))
"""
SIMPLETUNER = """
import json, os, sys
table = sys.argv[1]
from types import SimpleNamespace
from simpletuner.helpers.data_backend.local import LocalDataBackend
from simpletuner.helpers.image_manipulation.load import load_image
from simpletuner.helpers.prompts import PromptHandler
from simpletuner.helpers.training import image_file_extensions
backend = LocalDataBackend(SimpleNamespace(), "images")
def listed(folder):
    return sorted(path for _, _, files in backend.list_files(image_file_extensions, folder) for path in files)
work, found = json.load(open(table)), []
for each in work["folders"]:
    seen = [os.path.relpath(path, each["raw"]) for path in listed(each["raw"])]
    rows = []
    for path in listed(each["staged"]) if each["images"] else []:
        said = PromptHandler.prepare_instance_prompt_from_textfile(path, True, False, backend)
        rows.append(["\\n".join(said) if isinstance(said, list) else said, *load_image(path).size])
    found.append({"seen": seen, "rows": rows, "count": len(rows) * each["repeats"]})
print("PROBE " + json.dumps({"folders": found}))
"""


@dataclass(frozen=True)
class Case:
    """A drawn folder, and what a scan found in it."""

    raw: Path
    found: Dataset
    asked: dict[str, Any]


def cases(engine: str, tmp_path: Path) -> list[Case]:
    """The folders, scanned by the rules of an engine and staged."""
    own, made = registry.get(engine).manifest.dataset, []
    for seed in range(FOLDERS):
        raw, staged = tmp_path / f"raw{seed}", tmp_path / f"staged{seed}"
        wild_folders.make(raw, seed)
        wildcards = seed % 4 == 0 and "enable_wildcard" in own.native
        found = scan(raw, own.with_native(WILDCARDS if wildcards else {}), trigger="sks", skip_unreadable=True)
        names = list(stage(found, staged, "sks").captions)
        asked = {"engine": engine, "raw": str(raw), "staged": str(staged), "images": len(found.images), "names": names}
        made.append(Case(raw, found, {**asked, "repeats": REPEATS, "wildcards": wildcards}))
    return made


def ask(engine: str, probe: str, made: list[Case], tmp_path: Path) -> dict[str, Any]:
    """What the engine's own code says about the folders."""
    place = environments.installed(engine)
    assert place is not None
    for name in NAMES:
        (tmp_path / "layout" / name).mkdir(parents=True)
    work = {"folders": [case.asked for case in made], "layout": str(tmp_path / "layout")}
    (tmp_path / "work.json").write_text(json.dumps(work))
    source = [place.source] if engine == "kohya" else []
    command = [place.python, "-c", probe, *source, tmp_path / "work.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=590, check=False, cwd=tmp_path)
    line = next((line for line in done.stdout.splitlines() if line.startswith("PROBE ")), None)
    assert line is not None, done.stderr[-2000:]
    return json.loads(line.removeprefix("PROBE "))


def smaller(case: Case, staged: str) -> int:
    """By how many pixels sd-scripts reads a WebP image in extended form too small.

    Source: imagesize 1.4.1, which it reads sizes with, takes the stored width less one for the width.
    """
    file = Path(case.asked["staged"], staged)
    is_extended = file.suffix == ".webp" and file.read_bytes()[12:16] == b"VP8X"
    return int(is_extended and case.asked["engine"] == "kohya")


def check(case: Case, says: dict[str, Any], listed: set[str]) -> None:
    """The engine reads the staged folder as the scan says, and every file it would read itself is trained or named."""
    rows = []
    for image, staged in zip(case.found.images, case.asked["names"], strict=True):
        less = smaller(case, staged)
        rows.append([image.caption or "sks", image.width - less, image.height - less])
    assert says["rows"] == rows
    assert says["count"] == REPEATS * len(case.found.images)
    trained = {image.name for image in case.found.images}
    assert trained <= listed, "an image is trained that the engine does not read"
    named = {name for name, _ in case.found.unseen}
    assert listed <= trained | named, "the engine reads an image that is neither trained nor named"
    assert trained.isdisjoint(named)


@pytest.mark.backend
def test_sd_scripts_sees_and_reads_what_the_scan_found(tmp_path: Path) -> None:
    if environments.installed("kohya") is None:
        pytest.skip("sd-scripts is not installed")
    made = cases("kohya", tmp_path)
    says = ask("kohya", KOHYA, made, tmp_path)
    for case, each in zip(made, says["folders"], strict=True):
        check(case, each, set(each["seen"]))
    own = {name: folders.repeats(name) for name in NAMES}
    assert says["layout"] == {name: [found.number, found.word] for name, found in own.items() if found}


@pytest.mark.backend
def test_simpletuner_sees_and_reads_what_the_scan_found(tmp_path: Path) -> None:
    if environments.installed("simpletuner") is None:
        pytest.skip("SimpleTuner is not installed")
    made = cases("simpletuner", tmp_path)
    for case, each in zip(made, ask("simpletuner", SIMPLETUNER, made, tmp_path)["folders"], strict=True):
        check(case, each, set(each["seen"]))


def test_the_folders_have_something_of_everything(tmp_path: Path) -> None:
    """The contract means little if the drawn folders lack a kind of defect."""
    seen: set[str] = set()
    for engine in ("kohya", "simpletuner"):
        for case in cases(engine, tmp_path / engine):
            seen |= {reason for _, reason in case.found.unseen}
            seen |= {problem.message.partition(": ")[2] for problem in case.found.problems}
    said = " ".join(seen)
    for key in EVERYTHING.split():
        assert DEFECTS[key].reason in said, key
