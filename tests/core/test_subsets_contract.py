"""Plans with several image folders are read by the engines' own dataset code as Easel says, where an engine is installed.

With EASEL_SUBSETS=300 in the environment so many plans are drawn for each engine; otherwise a few.
"""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from PIL import Image

from tests.support import subset_folders
from trainer_core.datasets.scan import Dataset
from trainer_core.engines import batches, registry
from trainer_core.engines.seam import JobSpec, Place
from trainer_core.install import environments
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import ImageFolder
from trainer_core.prepare.workbench import Workbench
from trainer_core.problems import Problem
from trainer_core.training import image_folders
from trainer_core.training.folder import RunFolder

PLANS = int(os.environ.get("EASEL_SUBSETS", "24"))
MOST_FIXES = 12

KOHYA = """
import argparse, json, os, sys
source, table = sys.argv[1:]
sys.path.insert(0, source)
import numpy as np
import toml
from library import config_util, train_util
found = []
for each in json.load(open(table)):
    user = toml.load(each["dataset"])
    sanitizer = config_util.ConfigSanitizer(True, True, each["options"].get("masked_loss", False), True)
    arguments = argparse.Namespace(prior_loss_weight=1.0, debug_dataset=False, **each["options"])
    blueprint = config_util.BlueprintGenerator(sanitizer).generate(user, arguments)
    group, held_out = config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)
    kept = {}
    for dataset in held_out.datasets if held_out else ():
        for info in dataset.image_data.values():
            kept[os.path.relpath(info.absolute_path, each["run"])] = [info.caption, info.num_repeats, dataset.width]
    rows, buckets = {}, []
    for dataset in group.datasets:
        real = getattr(dataset, "dreambooth_dataset_delegate", dataset)
        counted = {}
        for info in real.image_data.values():
            subset = real.image_to_subset[info.image_key]
            cond = getattr(info, "cond_img_path", None)
            mask = float(np.mean(train_util.load_image(cond))) if cond else None
            key = os.path.relpath(info.absolute_path, each["run"])
            rows[key] = [info.caption, info.num_repeats, bool(info.is_reg), mask, bool(subset.alpha_mask),
                subset.shuffle_caption, subset.keep_tokens]
            name = "%d x %d" % tuple(info.bucket_reso)
            counted[name] = counted.get(name, 0) + info.num_repeats
        buckets.append([[real.width, counted], len(dataset)])
    found.append({"rows": rows, "buckets": buckets, "held_out": kept})
print("PROBE " + json.dumps(found))
"""
SIMPLETUNER = """
import copy, json, os, sys
from types import SimpleNamespace
import numpy as np
from simpletuner.helpers.data_backend import factory
from simpletuner.helpers.data_backend.local import LocalDataBackend
from simpletuner.helpers.image_manipulation.load import load_image
from simpletuner.helpers.metadata.backends.discovery import DiscoveryMetadataBackend
from simpletuner.helpers.prompts import PromptHandler
from simpletuner.helpers.training import image_file_extensions
from simpletuner.helpers.training.state_tracker import StateTracker
machine = SimpleNamespace(is_main_process=True, is_local_main_process=True, num_processes=1, process_index=0, device="cpu")
found = []
for each in json.load(open(sys.argv[1])):
    own = {"output_dir": each["run"], "cache_dir": each["run"], "vae_cache_ondemand": False, "controlnet": False,
        "delete_problematic_images": False, "delete_unwanted_images": False, "aspect_bucket_rounding": 2,
        "maximum_image_size": None, "target_downsample_size": None, "metadata_update_interval": 3600,
        "minimum_image_size": 0, "skip_file_discovery": "", "aspect_bucket_alignment": 64, "resolution_type": "pixel_area", **each["options"]}
    arguments = SimpleNamespace(**own)
    StateTracker.set_args(arguments)
    StateTracker.set_accelerator(machine)
    rows, buckets = {}, {}
    entries = {entry["id"]: entry for entry in json.load(open(each["dataset"]))}
    for entry in entries.values():
        if entry["dataset_type"] != "image":
            continue
        entry = copy.deepcopy(entry)
        factory.FactoryRegistry._handle_resolution_conversion(SimpleNamespace(args=arguments), entry)
        out = factory.init_backend_config(entry, own, machine)
        StateTracker.set_data_backend_config(entry["id"], out["config"])
        local, root = LocalDataBackend(machine, entry["id"]), entry["instance_data_dir"]
        cache = os.path.join(each["run"], entry["id"])
        meta = DiscoveryMetadataBackend(id=entry["id"], instance_data_dir=root, cache_file=cache, metadata_file=cache + "m",
            data_backend=local, accelerator=machine, batch_size=1, resolution=out["config"]["resolution"],
            resolution_type=out["config"]["resolution_type"], minimum_image_size=0, repeats=out["config"]["repeats"])
        counted = {}
        for path in sorted(path for _, _, files in local.list_files(image_file_extensions, root) for path in files):
            said = PromptHandler.prepare_instance_prompt_from_textfile(path, True, False, local)
            said = "\\n".join(said) if isinstance(said, list) else said
            masks = entries.get((entry.get("conditioning_data") or [None])[0])
            # As MultiAspectSampler.get_conditioning_sample finds it: the same name in the other folder.
            other = os.path.join(masks["instance_data_dir"], os.path.basename(path)) if masks else None
            mask = float(np.mean(np.array(load_image(other)))) if other else None
            is_reg = entry.get("is_regularisation_data", entry.get("is_regularization_data", False))
            shuffle = entry.get("caption_shuffle", {})
            rows[os.path.relpath(path, each["run"])] = [said, meta.repeats + 1, is_reg, mask, False,
                bool(shuffle), shuffle.get("position_start", 0)]
            counted = meta._process_for_bucket(path, counted, statistics={"skipped": {}}, metadata_updates={})
        # Of two entries with one id the engine would lose one, and two in one cache would mix their latents.
        buckets[entry["id"]] = {name: len(paths) * (meta.repeats + 1) for name, paths in counted.items()}
    found.append({"rows": rows, "buckets": buckets, "ids": len(entries),
        "caches": len({entry.get("cache_dir_vae") for entry in entries.values() if "cache_dir_vae" in entry})})
print("PROBE " + json.dumps(found))
"""


@dataclass(frozen=True)
class Case:
    """A plan that Easel has no objection to, its images, and what was rendered for them."""

    seed: int
    plan: TrainingPlan
    images: Dataset
    run: Path
    job: JobSpec


def drawn(engine: str, seed: int, root: Path) -> Case:
    """The plan of a seed, with the fixes that Easel offers for it accepted, and its images staged."""
    backend = registry.get(engine)
    values = subset_folders.make(root / "images", seed, alpha=engine == "kohya")
    bench = Workbench(engine=engine)
    bench.set({"model.family": "sdxl", "model.path": "/models/base", **values})
    for _ in range(MOST_FIXES):
        fix = next((problem.fix for problem in _blocking(bench) if problem.fix and problem.fix.changes), None)
        if fix is None:
            break
        bench.set(fix.changes)
    left = _blocking(bench)
    assert not left, f"seed {seed}: {left[0].message if left else ''}"
    plan, images = bench.state.draft.sketch(), bench.state.facts.dataset
    assert images is not None
    run = RunFolder.create(root, "run")
    captions = image_folders.stage(images, run, plan)
    place = Place(run.path, run.dataset, run.output, Path("/python"), Path("/source"), "4.10.1", captions=captions)
    return Case(seed, plan, images, run.path, backend.render(plan, place))


def _blocking(bench: Workbench) -> list[Problem]:
    found = [problem for problem in bench.problems if problem.severity == "error"]
    return [problem for problem in found if problem.path.startswith(("dataset.", "native.", "schedule."))]


def ask(engine: str, probe: str, made: list[Case], tmp_path: Path) -> list[dict[str, Any]]:
    """What the engine's own code says about the plans."""
    place = environments.installed(engine)
    assert place is not None
    work = []
    for case in made:
        for name, text in case.job.files.items():
            (case.run / name).parent.mkdir(exist_ok=True)
            (case.run / name).write_text(text)
        work.append({"run": str(case.run), **_asked(engine, case)})
    (tmp_path / "work.json").write_text(json.dumps(work))
    source = [place.source] if engine == "kohya" else []
    command = [place.python, "-c", probe, *source, tmp_path / "work.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, cwd=tmp_path)
    line = next((line for line in done.stdout.splitlines() if line.startswith("PROBE ")), None)
    assert line is not None, done.stderr[-3000:]
    return json.loads(line.removeprefix("PROBE "))


def _asked(engine: str, case: Case) -> dict[str, Any]:
    if engine == "simpletuner":
        options = json.loads(case.job.files[PurePosixPath("engine/config.json")])
        return {"dataset": str(case.run / "engine/multidatabackend.json"), "options": options}
    tables = tomllib.loads(case.job.files[PurePosixPath("engine/config.toml")])
    merged = {name: value for table in tables.values() for name, value in table.items()}
    read = ("masked_loss", "alpha_mask", "enable_wildcard")
    return {
        "dataset": str(case.run / "engine/dataset.toml"),
        "options": {name: merged[name] for name in read if name in merged},
    }


def expected(case: Case, engine: str) -> dict[str, list[Any]]:
    """What Easel says about each staged image that is trained: caption, uses, class image, mask, transparency, tags."""
    counts = {name: len(found.images) for name, found in case.images.folders.items()}
    uses = batches.uses(case.plan, counts, registry.get(engine).manifest)
    rows: dict[str, list[Any]] = {}
    for folder in case.plan.folders:
        found = case.images.folders[folder.name]
        times = [each for many, each in uses.get(folder.name, ()) for _ in range(many)]
        place = case.run / folder.name
        staged = sorted(path for path in place.iterdir() if path.suffix.lower() in ENDINGS) if place.is_dir() else []
        assert len(staged) == len(found.images)
        for path, image, used in zip(staged, found.images, times, strict=False):
            row = [image.caption or folder.caption, used, folder.is_regularisation, _mean(folder, found, image.name)]
            rows[f"{folder.name}/{path.name}"] = [
                *row,
                _alpha(case, folder),
                folder.shuffle_captions,
                _kept(folder, engine),
            ]
    return rows


ENDINGS = (".png", ".jpg", ".bmp")


def _kept(folder: ImageFolder, engine: str) -> int:
    return folder.keep_tokens if engine == "kohya" or folder.shuffle_captions else 0


def _alpha(case: Case, folder: ImageFolder) -> bool:
    if folder.masks:
        return False
    own = case.plan.native.get("kohya", {}).get("alpha_mask", False)
    return own if folder.alpha_masks is None else folder.alpha_masks


def _mean(folder: ImageFolder, found: Dataset, name: str) -> float | None:
    """The mean of the mask of an image: that of the user's own file, or white."""
    if not folder.masks:
        return None
    if (mask := found.masks.get(name)) is None:
        return 255.0
    with Image.open(mask) as opened:
        data = opened.convert("L").tobytes()
    return sum(data) / len(data)


def held_out(case: Case) -> dict[str, list[Any]]:
    """The images that are held out, with caption, uses and side of their bucket's square."""
    found = {}
    for folder in case.plan.folders:
        validation = case.images.folders[folder.name].validation
        if validation is not None:
            staged = sorted((case.run / folder.validation_name).iterdir())
            staged = [path for path in staged if path.suffix.lower() in ENDINGS]
            for path, image in zip(staged, validation.images, strict=True):
                row = [image.caption or folder.caption, 1, folder.resolution]
                found[f"{folder.validation_name}/{path.name}"] = row
    return found


def buckets(case: Case, engine: str) -> Counter[tuple[object, str]]:
    images, manifest = case.images, registry.get(engine).manifest
    counted = batches.in_buckets(case.plan, images.sizes, manifest, images.class_sizes, images.more_sizes)
    assert counted is not None
    return Counter(counted)


def check_rows(case: Case, says: dict[str, Any], engine: str) -> None:
    wanted = expected(case, engine)
    assert says["rows"].keys() == wanted.keys(), case.seed
    for name, row in wanted.items():
        mask, theirs = row[3], says["rows"][name]
        assert [*theirs[:3], *theirs[4:]] == [*row[:3], *row[4:]], (case.seed, name)
        assert (theirs[3] is None) == (mask is None), (case.seed, name)
        assert mask is None or abs(theirs[3] - mask) < 1, (case.seed, name)


@pytest.mark.backend
@pytest.mark.timeout(1800)
def test_sd_scripts_trains_every_folder_as_easel_says(tmp_path: Path) -> None:
    if environments.installed("kohya") is None:
        pytest.skip("sd-scripts is not installed")
    made = [drawn("kohya", seed, tmp_path / str(seed)) for seed in range(PLANS)]
    for case, says in zip(made, ask("kohya", KOHYA, made, tmp_path), strict=True):
        check_rows(case, says, "kohya")
        assert says["held_out"] == held_out(case), case.seed
        counted: Counter[tuple[object, str]] = Counter()
        for (group, name), many in buckets(case, "kohya").items():
            assert isinstance(group, tuple)
            side = group[0]
            counted[side, name if name != "square" else f"{side} x {side}"] += many
        theirs: Counter[tuple[object, str]] = Counter()
        for (side, found), _ in says["buckets"]:
            theirs.update({(side, name): many for name, many in found.items()})
        assert theirs == counted, case.seed
        images, manifest = case.images, registry.get("kohya").manifest
        each = batches.of_epoch(case.plan, images.sizes, manifest, images.class_sizes, images.more_sizes)
        assert each == sum(length for _, length in says["buckets"]), case.seed
    _report("sd-scripts", made)


@pytest.mark.backend
@pytest.mark.timeout(1800)
def test_simpletuner_trains_every_folder_as_easel_says(tmp_path: Path) -> None:
    if environments.installed("simpletuner") is None:
        pytest.skip("SimpleTuner is not installed")
    made = [drawn("simpletuner", seed, tmp_path / str(seed)) for seed in range(PLANS)]
    for case, says in zip(made, ask("simpletuner", SIMPLETUNER, made, tmp_path), strict=True):
        check_rows(case, says, "simpletuner")
        theirs = {
            (name.removeprefix("images").lstrip("-") or "dataset", bucket): many
            for name, found in says["buckets"].items()
            for bucket, many in found.items()
        }
        own = buckets(case, "simpletuner")
        if case.plan.dataset.bucketing:
            assert theirs == dict(own), case.seed
        else:
            assert sum(theirs.values()) == own.total(), case.seed
        masked = sum(bool(folder.masks) for folder in case.plan.folders)
        assert (says["ids"], says["caches"]) == (len(case.plan.folders) + masked + 1, len(case.plan.folders))
    _report("SimpleTuner", made)


def _report(engine: str, made: list[Case]) -> None:
    """Prints what the plans had, so that a run shows what was compared."""
    folders = [folder for case in made for folder in case.plan.folders]
    have = Counter(
        word
        for folder in folders
        for word, there in (
            ("masks", folder.masks),
            ("held out", folder.validation_share),
            ("class images", folder.is_regularisation),
            ("selection", folder.selection),
            ("transparency", folder.alpha_masks),
            ("caption choices", folder.caption_choices),
            ("own ending", folder.caption_extension != ".txt"),
        )
        if there
    )
    several = sum(len({folder.resolution for folder in case.plan.folders}) > 1 for case in made)
    images = sum(len(found.images) for case in made for found in case.images.folders.values())
    print(
        f"{engine}: {len(made)} plans, {len(folders)} folders, {images} images, {several} with several sizes: {dict(have)}"
    )
