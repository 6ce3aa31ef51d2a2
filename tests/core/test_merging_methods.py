"""The arithmetic of merges: each method against its definition in float64, written here independently, on small models with real names."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as wild

from tests.support import small_models
from tests.support.small_models import Arrays
from trainer_core.tools import merge
from trainer_core.tools.merge import Settings
from trainer_core.weights import halves
from trainer_core.weights.merging import arithmetic

NAMES = ("sd15", "krea2", "unet-sd15-diffusers")
"""Recorded headers of a checkpoint, of a transformer, and of a UNet alone."""
FAMILIES = ("sd15", "sd2", "sdxl", "sd3-medium", "flux-dev", "hunyuan-image", "sana-600m")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))


def merged(folder: Path, models: list[Arrays], method: str, **more: object) -> Arrays:
    paths = [small_models.write(folder / f"{number}.safetensors", model) for number, model in enumerate(models)]
    settings = Settings(models=tuple(map(str, paths)), target=str(folder / "made"), method=method, **more)
    return small_models.read(merge.run(settings, lambda _: None))


def triple(name: str, kind: type = np.float16) -> list[Arrays]:
    base = small_models.arrays(name, 1, kind)
    return [small_models.near(base, 2), small_models.near(base, 3), base]


def step16(value: np.ndarray) -> np.ndarray:
    """The distance of neighbouring float16 numbers at a value."""
    return np.maximum(2.0 ** (np.floor(np.log2(np.maximum(np.abs(value), 1e-30))) - 10), 2.0**-24)


def check_rounding(found: Arrays, wanted: dict[str, np.ndarray], models: list[Arrays]) -> None:
    """Each number is at most half a step of float16 from its reference, and a few steps of float32 at the size of what it is made of."""
    for key, value in wanted.items():
        size = np.max([np.abs(model[key].astype(np.float64)) for model in models], axis=0)
        error = np.abs(found[key].astype(np.float64) - value)
        assert (error <= 0.5 * step16(value) + 8 * 2.0**-24 * size).all(), key


def reference(method: str, models: list[np.ndarray], weight: float, **more: float) -> np.ndarray:
    """A method in float64, from its definition."""
    a, b, *rest = (each.astype(np.float64) for each in models)
    c = rest[0] if rest else np.zeros_like(a)
    if method == "weighted_sum":
        third = more.get("weight_c", 0.0)
        return a * (1 - weight - third) + b * weight + c * third
    if method == "add_difference":
        return a + weight * (b - c)
    if method == "train_difference":
        far, near = np.abs(b - a), np.abs(b - c)
        share = np.divide(far, far + near, out=np.zeros_like(a), where=far + near > 0)
        return a + 1.8 * weight * share * (b - c)
    if method == "slerp":
        lengths = np.linalg.norm(a), np.linalg.norm(b)
        angle = np.arccos(np.clip((a / lengths[0] * (b / lengths[1])).sum(), -1, 1))
        one, two = (np.sin(share * angle) / np.sin(angle) for share in (1 - weight, weight))
        return (a / lengths[0] * one + b / lengths[1] * two) * ((1 - weight) * lengths[0] + weight * lengths[1])
    raise AssertionError(method)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("method", "count", "values"),
    [
        ("weighted_sum", 2, {"weight": 0.3}),
        ("weighted_sum", 3, {"weight": 0.3, "weight_c": 0.25}),
        ("add_difference", 3, {"weight": 0.7}),
        ("train_difference", 3, {"weight": 0.9}),
        ("slerp", 2, {"weight": 0.35}),
    ],
)
def test_a_method_is_as_exact_as_the_dtype_allows(tmp_path, name, method, count, values):
    models = triple(name)[:count]
    found = merged(tmp_path, models, method, parameters=values)
    assert found.keys() == models[0].keys()
    wanted = {key: reference(method, [model[key] for model in models], **values) for key in found}
    check_rounding(found, wanted, models)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tensor_of_a_family_is_merged(tmp_path, name):
    base = small_models.arrays(name, 1)
    models = [base, {key: value + np.float16(0.5) for key, value in base.items()}]
    found = merged(tmp_path, models, "weighted_sum")
    wanted = {key: reference("weighted_sum", [model[key] for model in models], 0.5) for key in base}
    check_rounding(found, wanted, models)


def ties(models: list[np.ndarray], weight: float, keep: float) -> np.ndarray:
    """TIES from the text of its paper: trim, elect by mass, mean of those that agree."""
    base = models[2].astype(np.float32)
    trimmed = []
    for model in models[:2]:
        delta = model.astype(np.float32) - base
        flat = np.sort(np.abs(delta).reshape(-1))[::-1]
        limit = flat[max(round(keep * flat.size), 1) - 1]
        trimmed.append(np.where(np.abs(delta) >= limit, delta, 0).astype(np.float64))
    elected = np.sign(sum(trimmed))
    agree = [np.where((np.sign(each) == elected) & (elected != 0), each, 0) for each in trimmed]
    count = sum((each != 0).astype(int) for each in agree)
    return base + weight * np.divide(sum(agree), count, out=np.zeros(base.shape), where=count > 0)


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("keep", [0.2, 0.7, 1.0])
def test_ties_keeps_the_largest_changes_with_the_elected_sign(tmp_path, name, keep):
    models = triple(name)
    found = merged(tmp_path, models, "ties", parameters={"weight": 0.8, "keep": keep})
    wanted = {key: ties([model[key] for model in models], 0.8, keep) for key in found}
    check_rounding(found, wanted, models)


@pytest.mark.parametrize(("keep", "kept"), [(0.2, 2), (0.3, 3), (0.7, 7), (0.9, 9), (1.0, 10), (0.001, 1)])
def test_ties_keeps_no_number_more_than_its_share(keep, kept):
    changed, base = np.arange(1, 11, dtype=np.float32), np.zeros(10, np.float32)

    def read(_):
        yield changed.copy(), base.copy(), base.copy()

    values = {"weight": 1.0, "keep": keep}
    step = arithmetic.ties(arithmetic.Tensor(name="a", shape=(10,), weight=1.0, values=values, read=read))
    assert np.count_nonzero(step(next(read(0)))) == kept


def test_dare_drops_a_share_at_random_and_divides_the_rest(tmp_path):
    """The base is zero, so that each number shows which of the two differences were kept."""
    ones = {key: np.ones(value.shape, np.float32) for key, value in small_models.arrays("sd15", 1).items()}
    base = {key: np.zeros(value.shape, np.float32) for key, value in ones.items()}
    hundred = {key: value * 100 for key, value in ones.items()}
    found = merged(tmp_path, [ones, hundred, base], "dare", parameters={"weight": 0.5, "drop": 0.75}, seed=7)
    every = np.concatenate([value.reshape(-1) for value in found.values()])
    # 0.5 / (1 - 0.75) is the factor of what is kept.
    assert set(np.unique(every)) == {0.0, 2.0, 200.0, 202.0}
    for kept in (np.isin(every, (2.0, 202.0)), every >= 200.0):
        assert abs(kept.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / every.size)
    both = (every == 202.0).mean()
    assert abs(both - 0.25**2) < 4 * np.sqrt(0.0625 / every.size)


def test_dare_draws_the_same_numbers_for_a_tensor_wherever_it_is_in_the_file(tmp_path):
    models = triple("sd15")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = merged(tmp_path / "one", models, "dare", seed=3)
    turned = [dict(reversed(model.items())) for model in models]
    second = merged(tmp_path / "two", turned, "dare", seed=3)
    assert all(first[key].tobytes() == second[key].tobytes() for key in first)


def test_dare_draws_other_numbers_with_another_seed(tmp_path):
    models = triple("sd15")
    made = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        made.append(merged(folder, models, "dare", seed=seed))
    key = max(made[0], key=lambda name: made[0][name].size)
    assert (made[0][key] != made[1][key]).any()


def cosine(models: list[Arrays], letter: str, weight: float) -> dict[str, np.ndarray]:
    """The cosine modes of supermerger, tensor by tensor in float64, without zero columns; the VAE is not merged."""

    def split(value):
        value = value.astype(np.float64)
        return value.reshape(value.shape[0], -1) if value.ndim > 1 else value.reshape(-1, 1)

    alike, combined = [], {}
    for key in filter(lambda name: not name.startswith("first_stage_model."), models[0]):
        a, b = split(models[0][key]), split(models[1][key])
        columns = (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
        if letter == "a":
            a, b = a / np.linalg.norm(a, axis=0), b / np.linalg.norm(b, axis=0)
        whole = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        combined[key] = (columns + whole) / 2
        alike.append(columns if letter == "a" else combined[key])
    every = np.concatenate(alike)
    every = every[every >= np.percentile(every, 1, method="midpoint")]
    every = every[every <= np.percentile(every, 99, method="midpoint")]
    found = {}
    for key, value in combined.items():
        k = np.clip((value - every.min()) / (every.max() - every.min()) - weight, 0, 1)
        made = split(models[1][key]) * (1 - k) + split(models[0][key]) * k
        found[key] = made.reshape(models[0][key].shape)
    return found


@pytest.mark.parametrize("letter", ["a", "b"])
@pytest.mark.parametrize("name", NAMES[:2])
def test_the_cosine_methods_mix_each_column_by_how_alike_it_is(tmp_path, name, letter):
    base = small_models.arrays(name, 1, np.float32)
    models = [base, small_models.near(base, 2, 0.03)]
    found = merged(tmp_path, models, f"cosine_{letter}", parameters={"weight": 0.1}, dtype="fp32")
    wanted = cosine(models, letter, 0.1)
    assert max(float(np.abs(found[key] - wanted[key]).max()) for key in wanted) < 2e-6
    assert all(found[key].tobytes() == models[0][key].tobytes() for key in found.keys() - wanted.keys())
    assert any(np.abs(found[key] - models[0][key]).max() > 0.01 for key in found)


def test_slerp_of_parallel_tensors_is_a_weighted_sum(tmp_path):
    base = small_models.arrays("sd15", 1, np.float32)
    double = {key: value * 2 for key, value in base.items()}
    found = merged(tmp_path, [base, double], "slerp", parameters={"weight": 0.25})
    assert all(np.allclose(found[key], base[key] * 1.25, rtol=1e-6, atol=0) for key in base)


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "fp32"])
def test_the_result_is_rounded_once_to_the_dtype_that_was_chosen(tmp_path, dtype):
    models = triple("sd15", ml_dtypes.bfloat16)[:2]
    found = merged(tmp_path, models, "weighted_sum", parameters={"weight": 0.25}, dtype=dtype)
    kind = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16, "fp32": np.float32}[dtype]
    for key, value in found.items():
        exact = models[0][key].astype(np.float32) * np.float32(0.75) + models[1][key].astype(np.float32) * np.float32(
            0.25
        )
        assert value.dtype == kind
        assert value.tobytes() == exact.astype(kind).tobytes()


def test_every_float16_number_becomes_the_same_float32_as_with_numpy():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    for numbers in (every, finite):
        found = np.empty(numbers.size, np.float32)
        halves.widened(numbers, found)
        assert found.tobytes() == numbers.astype(np.float32).tobytes()


@given(wild.arrays(np.uint32, st.integers(0, 300)))
def test_any_float32_number_becomes_the_same_float16_as_with_numpy(bits):
    numbers = bits.view(np.float32)
    with np.errstate(all="ignore"):
        assert halves.narrowed(numbers).tobytes() == numbers.astype(np.float16).tobytes()


def test_a_number_in_the_middle_between_two_float16_numbers_is_rounded_to_the_even_one():
    every = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float64)
    above = np.arange(1, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)
    middles = ((every + above) / 2).astype(np.float32)
    for numbers in (middles, -middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(1e9))):
        assert halves.narrowed(numbers).tobytes() == numbers.astype(np.float16).tobytes()
