"""Networks of every kind with random numbers: the parts of one module, and what they mean for a weight, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support import small_models

Arrays = dict[str, np.ndarray]
OUT, IN, KERNEL = 24, 20, (3, 3)


@dataclass(frozen=True)
class Case:
    """A module: its parts by their endings, the shape of its weight, and the reference of its effect at a strength."""

    parts: Arrays
    shape: tuple[int, ...]
    effect: Callable[[np.ndarray, float], np.ndarray]
    kind: str
    rank: int = 0
    tolerance: float = 2e-6


def write(path: Path, modules: Mapping[str, Arrays], metadata: Mapping[str, str] | None = None) -> Path:
    """Writes modules, each with the arrays of its endings, as a file."""
    tensors = {f"{key}{ending}": np.asarray(each) for key, parts in modules.items() for ending, each in parts.items()}
    return small_models.write(path, tensors, metadata)


def cases(seed: int = 0) -> dict[str, Case]:
    """A module of every kind, by a name for the test."""
    random = np.random.default_rng(seed)
    made = {}
    for make in (
        _lora,
        _conv,
        _tucker,
        _loha,
        _loha_tucker,
        _lokr,
        _lokr_conv,
        _lokr_tucker,
        _lokr_both,
        _glora,
        _glora_old,
        _glora_conv,
    ):
        made[make.__name__.lstrip("_")] = make(random)
    for make in (_ia3, _ia3_input, _oft, _oft_limited, _oft_rescaled, _oft_pieces, _boft, _boft_rescaled, _full, _norm):
        made[make.__name__.lstrip("_")] = make(random)
    for make in (_dora, _dora_input, _dora_conv, _doha):
        made[make.__name__.lstrip("_")] = make(random)
    return made


def _numbers(random: np.random.Generator, *shape: int, scale: float = 0.3) -> np.ndarray:
    return (random.standard_normal(shape) * scale).astype(np.float32)


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


def _linear(change: np.ndarray) -> Callable[[np.ndarray, float], np.ndarray]:
    return lambda base, strength: strength * change.reshape(base.shape)


def _alpha(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _lora(random: np.random.Generator) -> Case:
    up, down = _numbers(random, OUT, 4), _numbers(random, 4, IN)
    change = _wide(up) @ _wide(down) * (2 / 4)
    parts = {".lora_up.weight": up, ".lora_down.weight": down, ".alpha": _alpha(2)}
    return Case(parts, (OUT, IN), _linear(change), "lora", 4)


def _conv(random: np.random.Generator) -> Case:
    up, down = _numbers(random, OUT, 4, 1, 1), _numbers(random, 4, IN, *KERNEL)
    change = np.einsum("or,rikl->oikl", _wide(up)[:, :, 0, 0], _wide(down))
    # Without an alpha the scale is 1.
    return Case({".lora_up.weight": up, ".lora_down.weight": down}, (OUT, IN, *KERNEL), _linear(change), "locon", 4)


def _tucker(random: np.random.Generator) -> Case:
    up, down = _numbers(random, OUT, 4, 1, 1), _numbers(random, 4, IN, 1, 1)
    mid = _numbers(random, 4, 4, *KERNEL)
    change = np.einsum("oa,abkl,bi->oikl", _wide(up)[:, :, 0, 0], _wide(mid), _wide(down)[:, :, 0, 0]) * (1 / 4)
    parts = {".lora_up.weight": up, ".lora_down.weight": down, ".lora_mid.weight": mid, ".alpha": _alpha(1)}
    return Case(parts, (OUT, IN, *KERNEL), _linear(change), "locon", 4)


def _loha(random: np.random.Generator) -> Case:
    w1a, w1b, w2a, w2b = (_numbers(random, *shape) for shape in ((OUT, 4), (4, IN), (OUT, 4), (4, IN)))
    change = (_wide(w1a) @ _wide(w1b)) * (_wide(w2a) @ _wide(w2b)) * (8 / 4)
    parts = {".hada_w1_a": w1a, ".hada_w1_b": w1b, ".hada_w2_a": w2a, ".hada_w2_b": w2b, ".alpha": _alpha(8)}
    return Case(parts, (OUT, IN), _linear(change), "loha", 4)


def _loha_tucker(random: np.random.Generator) -> Case:
    w1a, w1b, w2a, w2b = (_numbers(random, *shape) for shape in ((4, OUT), (4, IN), (4, OUT), (4, IN)))
    t1, t2 = _numbers(random, 4, 4, *KERNEL), _numbers(random, 4, 4, *KERNEL)
    one, two = (
        np.einsum("abkl,ao,bi->oikl", _wide(t), _wide(a), _wide(b)) for t, a, b in ((t1, w1a, w1b), (t2, w2a, w2b))
    )
    parts = {
        ".hada_w1_a": w1a, ".hada_w1_b": w1b, ".hada_w2_a": w2a, ".hada_w2_b": w2b, ".hada_t1": t1, ".hada_t2": t2,
        ".alpha": _alpha(4),
    }  # fmt: skip
    return Case(parts, (OUT, IN, *KERNEL), _linear(one * two), "loha", 4)


def _lokr(random: np.random.Generator) -> Case:
    w1, w2a, w2b = _numbers(random, 4, 4), _numbers(random, 6, 2), _numbers(random, 2, 5)
    change = np.kron(_wide(w1), _wide(w2a) @ _wide(w2b)) * (6 / 2)
    parts = {".lokr_w1": w1, ".lokr_w2_a": w2a, ".lokr_w2_b": w2b, ".alpha": _alpha(6)}
    return Case(parts, (OUT, IN), _linear(change), "lokr", 2)


def _lokr_conv(random: np.random.Generator) -> Case:
    # Both whole: alpha has no effect, whatever it is.
    w1, w2 = _numbers(random, 4, 4), _numbers(random, 6, 5, *KERNEL)
    change = np.einsum("ac,bdkl->abcdkl", _wide(w1), _wide(w2)).reshape(OUT, IN, *KERNEL)
    return Case({".lokr_w1": w1, ".lokr_w2": w2, ".alpha": _alpha(99)}, (OUT, IN, *KERNEL), _linear(change), "lokr", 0)


def _lokr_tucker(random: np.random.Generator) -> Case:
    w1 = _numbers(random, 4, 4)
    w2a, w2b, t2 = _numbers(random, 2, 6), _numbers(random, 2, 5), _numbers(random, 2, 2, *KERNEL)
    second = np.einsum("abkl,ao,bi->oikl", _wide(t2), _wide(w2a), _wide(w2b))
    change = np.einsum("ac,bdkl->abcdkl", _wide(w1), second).reshape(OUT, IN, *KERNEL) * (1 / 2)
    parts = {".lokr_w1": w1, ".lokr_w2_a": w2a, ".lokr_w2_b": w2b, ".lokr_t2": t2, ".alpha": _alpha(1)}
    return Case(parts, (OUT, IN, *KERNEL), _linear(change), "lokr", 2)


def _lokr_both(random: np.random.Generator) -> Case:
    w1a, w1b, w2a, w2b = (_numbers(random, *shape) for shape in ((4, 2), (2, 4), (6, 2), (2, 5, *KERNEL)))
    second = np.einsum("or,rikl->oikl", _wide(w2a), _wide(w2b))
    change = np.einsum("ac,bdkl->abcdkl", _wide(w1a) @ _wide(w1b), second).reshape(OUT, IN, *KERNEL)
    parts = {".lokr_w1_a": w1a, ".lokr_w1_b": w1b, ".lokr_w2_a": w2a, ".lokr_w2_b": w2b}
    return Case(parts, (OUT, IN, *KERNEL), _linear(change), "lokr", 2)


def _glora(random: np.random.Generator) -> Case:
    a1, a2, b1, b2 = (_numbers(random, *shape) for shape in ((IN, 4), (4, IN), (OUT, 4), (4, IN)))
    parts = {".a1.weight": a1, ".a2.weight": a2, ".b1.weight": b1, ".b2.weight": b2, ".alpha": _alpha(2)}
    own = _wide(a1) @ _wide(a2)
    return Case(
        parts, (OUT, IN), lambda w, s: s * (w @ own + _wide(b1) @ _wide(b2)) * (2 / 4), "glora", 4, tolerance=1e-5
    )


def _glora_old(random: np.random.Generator) -> Case:
    a1, a2, b1, b2 = (_numbers(random, *shape) for shape in ((4, IN), (IN, 4), (4, IN), (OUT, 4)))
    parts = {".a1.weight": a1, ".a2.weight": a2, ".b1.weight": b1, ".b2.weight": b2, ".alpha": _alpha(4)}
    own = _wide(a2) @ _wide(a1)
    return Case(parts, (OUT, IN), lambda w, s: s * (w @ own + _wide(b2) @ _wide(b1)), "glora", 4, tolerance=1e-5)


def _glora_conv(random: np.random.Generator) -> Case:
    a1, a2 = _numbers(random, IN, 4, 1, 1), _numbers(random, 4, IN, 1, 1)
    b1, b2 = _numbers(random, OUT, 4, 1, 1), _numbers(random, 4, IN, *KERNEL)
    parts = {".a1.weight": a1, ".a2.weight": a2, ".b1.weight": b1, ".b2.weight": b2, ".alpha": _alpha(1)}
    own = _wide(a1)[:, :, 0, 0] @ _wide(a2)[:, :, 0, 0]
    added = np.einsum("or,rikl->oikl", _wide(b1)[:, :, 0, 0], _wide(b2))
    return Case(
        parts, (OUT, IN, *KERNEL), lambda w, s: s * (np.einsum("oikl,ij->ojkl", w, own) + added) / 4, "glora", 4,
        tolerance=1e-5,
    )  # fmt: skip


def _ia3(random: np.random.Generator) -> Case:
    weight = _numbers(random, OUT)
    parts = {".weight": weight, ".on_input": np.array(0, np.int64)}
    return Case(parts, (OUT, IN), lambda w, s: s * w * _wide(weight)[:, None], "ia3")


def _ia3_input(random: np.random.Generator) -> Case:
    weight = _numbers(random, 1, IN, 1, 1)
    parts = {".weight": weight, ".on_input": np.array(1, np.int64)}
    return Case(parts, (OUT, IN, *KERNEL), lambda w, s: s * w * _wide(weight), "ia3")


def _rotation(block: np.ndarray, factor: float = 1.0) -> np.ndarray:
    turn = (_wide(block) - _wide(block).T) * factor
    one = np.eye(len(turn))
    return (one + turn) @ np.linalg.inv(one - turn)


def _turned(weight: np.ndarray, rotations: list[np.ndarray], strength: float) -> np.ndarray:
    """The rows of a weight, turned block by block: each is a mixture of the rows of its block."""
    made, row = np.empty_like(weight), 0
    for rotation in rotations:
        size = len(rotation)
        mixed = np.eye(size) + strength * (rotation - np.eye(size))
        made[row : row + size] = np.einsum("nm,n...->m...", mixed, weight[row : row + size])
        row += size
    return made


def _oft(random: np.random.Generator) -> Case:
    blocks = _numbers(random, 6, 4, 4)
    turns = [_rotation(each) for each in blocks]
    return Case({".oft_blocks": blocks, ".alpha": _alpha(0)}, (OUT, IN), lambda w, s: _turned(w, turns, s) - w, "oft", tolerance=1e-5)  # fmt: skip


def _oft_limited(random: np.random.Generator) -> Case:
    blocks = _numbers(random, 6, 4, 4)
    # The norm of all blocks together is at most alpha times the outputs.
    norm = np.sqrt(sum(np.sum((_wide(each) - _wide(each).T) ** 2) for each in blocks))
    turns = [_rotation(each, 0.01 * OUT / norm) for each in blocks]
    return Case(
        {".oft_blocks": blocks, ".alpha": _alpha(0.01)}, (OUT, IN, *KERNEL), lambda w, s: _turned(w, turns, s) - w, "oft",
        tolerance=1e-5,
    )  # fmt: skip


def _oft_rescaled(random: np.random.Generator) -> Case:
    blocks, scale = _numbers(random, 6, 4, 4), 1 + _numbers(random, OUT, 1)
    turns = [_rotation(each) for each in blocks]
    return Case(
        {".oft_blocks": blocks, ".rescale": scale, ".alpha": _alpha(0)}, (OUT, IN),
        lambda w, s: _wide(scale) * _turned(w, turns, s) - w, "oft", tolerance=1e-5,
    )  # fmt: skip


def _oft_pieces(random: np.random.Generator) -> Case:
    first, second = _numbers(random, 2, 4, 4), _numbers(random, 2, 8, 8)
    turns = [_rotation(each) for each in (*first, *second)]
    return Case(
        {".oft_blocks.0": first, ".oft_blocks.1": second}, (OUT, IN), lambda w, s: _turned(w, turns, s) - w, "oft_pieces",
        tolerance=1e-5,
    )  # fmt: skip


def _boft(random: np.random.Generator, scale: np.ndarray | None = None) -> Case:
    # 24 outputs in blocks of 6: stage 0 mixes neighbours, stage 1 rows that are 6 apart, stage 2 would need blocks of 24.
    blocks = _numbers(random, 3, 4, 6, 6)
    size, count = 6, 4

    def effect(w: np.ndarray, s: float) -> np.ndarray:
        now = w.reshape(OUT, -1)
        for stage in range(3):
            order = _butterfly(stage, size)
            mixed = now[order]
            turned = np.concatenate(
                [
                    (np.eye(size) + s * (_rotation(blocks[stage, block]) - np.eye(size)))
                    @ mixed[block * size : (block + 1) * size]
                    for block in range(count)
                ]
            )
            now = np.empty_like(turned)
            now[order] = turned
        factor = 1.0 if scale is None else _wide(scale).reshape(-1, 1)
        return (factor * now).reshape(w.shape) - w

    parts = {".oft_blocks": blocks, ".alpha": _alpha(0)}
    return Case(parts if scale is None else parts | {".rescale": scale}, (OUT, IN), effect, "boft", tolerance=1e-5)


def _butterfly(stage: int, size: int) -> np.ndarray:
    """The order of the rows in a stage: in groups of 2 k rows, row i of the first half is followed by row i of the second."""
    k = 2**stage * (size // 2)
    return np.array([start + half * k + row for start in range(0, OUT, 2 * k) for row in range(k) for half in (0, 1)])


def _boft_rescaled(random: np.random.Generator) -> Case:
    return _boft(random, 1 + _numbers(random, OUT, 1))


def _full(random: np.random.Generator) -> Case:
    change = _numbers(random, OUT, IN)
    return Case({".diff": change}, (OUT, IN), _linear(_wide(change)), "full")


def _norm(random: np.random.Generator) -> Case:
    change = _numbers(random, OUT)
    return Case({".w_norm": change, ".b_norm": _numbers(random, OUT)}, (OUT,), _linear(_wide(change)), "norm")


def _magnified(inner: Case, magnitude: np.ndarray, axes: tuple[int, ...]) -> Callable[[np.ndarray, float], np.ndarray]:
    """The rule of DoRA: the changed weight gets the magnitude; the whole effect is multiplied by the strength."""

    def effect(w: np.ndarray, s: float) -> np.ndarray:
        changed = w + inner.effect(w, 1.0)
        norm = np.sqrt((changed**2).sum(axis=axes, keepdims=True)) + 1.1920929e-07
        return s * (changed * _wide(magnitude).reshape(norm.shape) / norm - w)

    return effect


def _dora(random: np.random.Generator) -> Case:
    inner, magnitude = _lora(random), 1 + np.abs(_numbers(random, OUT, 1))
    return Case(
        inner.parts | {".dora_scale": magnitude}, inner.shape, _magnified(inner, magnitude, (1,)), "dora", 4, 1e-5
    )


def _dora_input(random: np.random.Generator) -> Case:
    inner, magnitude = _lora(random), 1 + np.abs(_numbers(random, 1, IN))
    return Case(
        inner.parts | {".dora_scale": magnitude}, inner.shape, _magnified(inner, magnitude, (0,)), "dora", 4, 1e-5
    )


def _dora_conv(random: np.random.Generator) -> Case:
    inner, magnitude = _tucker(random), 1 + np.abs(_numbers(random, OUT, 1, 1, 1))
    return Case(
        inner.parts | {".dora_scale": magnitude}, inner.shape, _magnified(inner, magnitude, (1, 2, 3)), "dora", 4, 1e-5
    )


def _doha(random: np.random.Generator) -> Case:
    inner, magnitude = _loha(random), 1 + np.abs(_numbers(random, OUT, 1))
    return Case(
        inner.parts | {".dora_scale": magnitude}, inner.shape, _magnified(inner, magnitude, (1,)), "dora", 4, 1e-5
    )
