"""How much a full check of images costs (damage, fingerprint, quality), against the bare decoding of the same files by Pillow.

Usage: python benchmarks/dataset_check.py [--images 5000] [--times 5]
Goals: 1.2 times the CPU time of the decoding; 3 s of CPU time for the headers of 5,000 images; 400 MB of memory for their check.
The images have detail at all scales, like photographs. Each file is decoded and checked in turn, and the best time counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.scenes import natural  # noqa: E402 - from this checkout
from trainer_core.curation import catalogue, filtering, looks, scores  # noqa: E402
from trainer_core.engines import registry  # noqa: E402

KINDS = {
    "jpg 1024": ("jpg", "JPEG", (1024, 1024), {"quality": 92}),
    "jpg 3000x2000": ("jpg", "JPEG", (3000, 2000), {"quality": 90}),
    "png 1024": ("png", "PNG", (1024, 1024), {}),
    "webp 1024": ("webp", "WEBP", (1024, 1024), {"quality": 90}),
}
EACH = 6
GOALS = {"ratio": 1.2, "headers_s": 3.0, "memory_mb": 400}


def draw(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for kind, (ending, written_as, size, more) in KINDS.items():
        for number in range(EACH):
            place = folder / f"{kind} {number}.{ending}"
            natural(number, size).save(place, written_as, **more)
            found.setdefault(kind, []).append(place)
    return found


def decode(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def cpu(work: Callable[[Path], object], path: Path) -> float:
    start = time.process_time()
    work(path)
    return time.process_time() - start


def ratios(files: dict[str, list[Path]], times: int) -> dict[str, float]:
    """The CPU time of a check by that of a decoding, for each kind and for all files together."""
    found, whole = {}, [0.0, 0.0]
    for kind, paths in files.items():
        sums = [0.0, 0.0]
        for path in paths:
            pairs = [(cpu(decode, path), cpu(looks.look, path)) for _ in range(times)]
            for place in range(2):
                sums[place] += min(pair[place] for pair in pairs)
        found[kind] = sums[1] / sums[0]
        whole = [one + more for one, more in zip(whole, sums, strict=True)]
    return {**found, "all": whole[1] / whole[0]}


def many(folder: Path, files: dict[str, list[Path]], count: int) -> None:
    """A dataset of so many images with captions: links to the files."""
    folder.mkdir()
    plain = [path for kind, paths in files.items() if "3000" not in kind for path in paths]
    for number in range(count):
        source = plain[number % len(plain)]
        os.link(source, folder / f"{number:05}{source.suffix}")
        (folder / f"{number:05}.txt").write_text(f"sks, tag{number % 40}, red dress, smile, standing, {number}")


def check_all(folder: Path) -> None:
    """Checks a dataset in this process, and prints its time and peak of memory."""
    start = time.process_time()
    found = scores.measured(folder)
    print(json.dumps({"images": len(found), "cpu_s": time.process_time() - start, "memory_mb": peak_mb()}))


def peak_mb() -> float:
    """The most memory of this process so far. On Linux, getrusage also counts the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.check:
        check_all(asked.check)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = draw(folder)
        print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        for kind, ratio in ratios(files, asked.times).items():
            print(f"check / decoding, {kind:14} {ratio:.2f}")
        dataset = folder / "dataset"
        many(dataset, files, asked.images)
        start = time.process_time()
        entries = catalogue.entries(dataset, registry.first().manifest.dataset)
        print(f"headers and captions of {len(entries):,} images: {time.process_time() - start:.2f} s of CPU time")
        start = time.process_time()
        fit = sum(map(filtering.parse("tag:*dress (tokens:>7 or name:*9*) -is:reject").matches, entries))
        print(f"a filter over them ({fit:,} fit): {1000 * (time.process_time() - start):.0f} ms")
        environment = {**os.environ, "EASEL_HOME": str(folder / "home")}
        for name in ("first check", "second check"):
            done = subprocess.run([sys.executable, __file__, "--check", str(dataset)], capture_output=True, text=True, check=True, env=environment)  # fmt: skip
            said = json.loads(done.stdout)
            print(f"{name} of {said['images']:,} images: {said['cpu_s']:.1f} s of CPU time, {said['memory_mb']:.0f} MB")
        print(f"goals: {GOALS}")


if __name__ == "__main__":
    main()
