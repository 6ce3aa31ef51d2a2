"""Measures what is in a network: ranks, norms and energy by layer and block, hashes, and what its metadata says."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from trainer_core.errors import WeightsError
from trainer_core.models import detection, loaders
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.weights.lora import algebra, blocks, products, ranks, training
from trainer_core.weights.lora.report import SHARES, LayerReport, Report, blocks_of, suggestion
from trainer_core.weights.networks import modules
from trainer_core.weights.networks.modules import Module, Network
from trainer_core.weights.reading import Weights

CHUNK_BYTES = 4 << 20
Told = Callable[[int, int, int, int], None]
"""What hears of the progress: layers done and in all, bytes done and in all."""


def inspect(path: Path | str, family: str = "", progress: Told = lambda *_: None) -> Report:
    """What is in a network.

    Raises:
        HeaderError: the file cannot be read.
        WeightsError: it contains no network.
    """
    with Weights(path) as weights:
        network = modules.read(weights, family)
        found = detection.detect(network.header)
        layers, linear, conv = _layers(network, progress)
        weights.check_unchanged()
    metadata = network.header.metadata
    order = blocks.in_order((each.block for each in layers), network.family)
    suggestions = (suggestion(linear, is_conv=False), suggestion(conv, is_conv=True))
    return Report(
        name=shown(network.header.path),
        size_bytes=network.header.path.stat().st_size,
        family=network.family,
        kind=found.variant,
        rank=found.rank,
        dtypes=_dtypes(network),
        layers=tuple(layers),
        blocks=blocks_of(layers, order),
        suggestions=tuple(each for each in suggestions if each),
        facts=tuple(training.facts(metadata)),
        triggers=tuple(training.triggers(metadata)),
        loading=tuple(loaders.judge(network.header, network.family)),
        hashes=_hashes(network.header.path),
        unknown=tuple(printable(key, 200) for key in network.unknown),
        notes=tuple(_notes(network, layers)),
    )


def _layers(network: Network, progress: Told) -> tuple[list[LayerReport], list[list[float]], list[list[float]]]:
    """The report of each layer, and the squares of the singular values of linear layers and of convolutions."""
    sizes = [sum(network.header.tensors[key].size_bytes for key in module.parts.values()) for module in network.modules]
    found, linear, conv, done = [], [], [], 0
    for number, (module, size) in enumerate(zip(network.modules, sizes, strict=True), 1):
        report, squares = _layer(module, network.family)
        found.append(report)
        if squares:
            (conv if math.prod(report.shape[2:]) > 1 else linear).append(squares)
        done += size
        progress(number, len(sizes), done, sum(sizes))
    return found, linear, conv


def _layer(module: Module, family: str) -> tuple[LayerReport, list[float]]:
    norm, values, problem, shape = None, [], "", ()
    try:
        shape = module.shape or ()
        norm, values = _measured(module)
    except WeightsError as error:
        problem = error.message
    squares = [value * value for value in values]
    directions = {share: ranks.smallest(values, "sv_fro", math.sqrt(share / 100)) for share in SHARES} if values else {}
    block = blocks.block_of(module.key, family)
    key = printable(module.key, 200)
    return (
        LayerReport(key, block, module.kind, module.rank, module.alpha, module.scale, shape, norm, directions, problem),
        squares,
    )


def _measured(module: Module) -> tuple[float | None, list[float]]:
    """The norm of a module's change, None if it depends on the model, and its singular values, [] for a full difference."""
    if module.needs_base:
        for part in module.parts:
            if part != "alpha":
                module.array(part)
        return None, []
    if module.layout in ("full", "norm"):
        changes = [module.array(part) for part in module.parts]
        return math.sqrt(sum(float(np.sum(np.square(each, dtype=np.float64))) for each in changes)), []
    term = products.of(module)
    values = (algebra.values(term.up, term.down) * np.float32(abs(term.scale))).tolist()
    return math.sqrt(sum(value * value for value in values)), values


def _dtypes(network: Network) -> tuple[str, ...]:
    """The dtypes of the tensors, the most frequent first."""
    counted = Counter(
        network.header.tensors[key].dtype
        for module in network.modules
        for part, key in module.parts.items()
        if part != "alpha"
    )
    return tuple(dtype for dtype, _ in counted.most_common())


def _hashes(path: Path) -> dict[str, str]:
    """The hashes by which programs and sites know a file. Source: sd-scripts library/train_util.py, calculate_sha256 and addnet_hash_safetensors."""
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        first = file.read(8)
        header = file.read(int.from_bytes(first, "little"))
        whole.update(first + header)
        while chunk := file.read(CHUNK_BYTES):
            whole.update(chunk)
            tensors.update(chunk)
    digest = whole.hexdigest()
    return {
        "sha256": digest,
        "AutoV2": digest[:10],
        "sshs_model_hash": tensors.hexdigest(),
        "AutoV3": tensors.hexdigest()[:12],
    }


def _notes(network: Network, layers: list[LayerReport]) -> Iterator[str]:
    unused = sum(each.is_unused for each in layers)
    if unused:
        yield f"{unused} of {len(layers)} layers change nothing: their numbers are all zero."
    damaged = [each for each in layers if each.problem]
    if damaged:
        yield f"{len(damaged)} layers cannot be used. {damaged[0].problem}"
    if network.unknown:
        yield network.said_of_unknown
