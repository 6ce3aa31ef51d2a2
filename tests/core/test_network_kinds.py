"""What each kind of module does to a weight, against references in float64, and what a hostile file leads to."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import network_files, small_models
from tests.support.network_files import Case, cases
from trainer_core.errors import EaselError, WeightsError
from trainer_core.weights.networks import modules
from trainer_core.weights.networks.modules import Module, Network
from trainer_core.weights.reading import Weights

CASES = cases()
ROOT = Path(__file__).resolve().parents[2]
KOHYA = ROOT / "workspace" / "engines" / "kohya" / "venv" / "bin" / "python"


def network(path: Path) -> Network:
    return modules.read(Weights(path))


def only(
    folder: Path, parts: dict[str, np.ndarray], metadata: dict[str, str] | None = None, key: str = "lora_unet_a"
) -> Module:
    """The module of a file with one module."""
    (module,) = network(network_files.write(folder / "network.safetensors", {key: parts}, metadata)).modules
    return module


def base_of(case: Case) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(case.shape).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("strength", [1.0, 0.6, -0.5])
def test_the_effect_of_each_kind_is_that_of_its_definition(tmp_path: Path, name: str, strength: float) -> None:
    case = CASES[name]
    module = only(tmp_path, case.parts)
    assert (module.kind, module.rank) == (case.kind, case.rank)
    base = base_of(case)
    wanted = case.effect(base.astype(np.float64), strength)
    found = module.effect(base, strength)
    assert found.dtype == np.float32
    assert found.shape == base.shape
    assert np.abs(found - wanted).max() <= case.tolerance * max(np.abs(wanted).max(), 1)
    if strength == 1.0:
        assert np.array_equal(module.delta(base), found)


@pytest.mark.parametrize("name", CASES)
def test_a_plain_product_is_given_as_its_factors_and_nothing_else_is(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    module = only(tmp_path, case.parts)
    found = module.factors()
    if case.kind not in ("lora", "locon"):
        assert found is None
        return
    assert found is not None
    assert found.shape == case.shape
    assert found.up.shape == (case.shape[0], case.rank)
    wanted = case.effect(np.zeros(case.shape), 1.0)
    assert np.abs((found.up @ found.down).reshape(case.shape) - wanted).max() < 2e-6 * np.abs(wanted).max()


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.kind in ("glora", "ia3", "oft", "boft", "dora")]
)
def test_a_kind_that_depends_on_the_model_says_so_without_it(tmp_path: Path, name: str) -> None:
    module = only(tmp_path, CASES[name].parts)
    assert module.needs_base
    with pytest.raises(WeightsError, match="depends on the weights of the model"):
        module.delta()


def test_the_bias_that_a_module_changes_is_given_too(tmp_path: Path) -> None:
    bias = np.arange(24, dtype=np.float32)
    full = only(tmp_path, {".diff": np.zeros((24, 20), np.float32), ".diff_b": bias})
    assert np.array_equal(full.bias(0.5), bias / 2)
    parts = CASES["lora"].parts | {".lora_up.bias": bias}
    assert np.array_equal(only(tmp_path, parts).bias(), bias / 2)  # with the scale, alpha / rank
    assert only(tmp_path, CASES["lora"].parts).bias() is None


@pytest.mark.parametrize(
    ("stated", "scale"),
    [
        ({"unet.r": 4, "unet.lora_alpha": 8}, 2.0),
        ({"r": 4, "lora_alpha": 2}, 0.5),
        ({"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": True}, 4.0),
        ({"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"mid.to_q": 1}}, 0.25),
        ({"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {"mid.to_k": 1}}, 2.0),
        ({"text_encoder.r": 4, "text_encoder.lora_alpha": 8}, 1.0),
        ({"unet.lora_alpha": "many"}, 1.0),
        ([], 1.0),
    ],
)
def test_the_alpha_in_the_metadata_of_peft_counts(tmp_path: Path, stated: object, scale: float) -> None:
    parts = {".lora_A.weight": np.ones((4, 20), np.float32), ".lora_B.weight": np.ones((24, 4), np.float32)}
    module = only(tmp_path, parts, {"lora_adapter_metadata": json.dumps(stated)}, "unet.down.mid.to_q")
    assert module.scale == scale


def test_the_alpha_in_the_configuration_of_peft_beside_the_file_counts(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 12}))
    parts = {".lora_A.weight": np.ones((4, 20), np.float32), ".lora_B.weight": np.ones((24, 4), np.float32)}
    path = network_files.write(tmp_path / "adapter_model.safetensors", {"base_model.model.to_q": parts})
    assert network(path).modules[0].scale == 3.0


WRONG = {
    "lacks its part w_norm": {".b_norm": np.ones(24, np.float32), ".rescale": np.ones((), np.float32)},
    r"shape \[\], but the model": {".diff": np.ones((), np.float32)},
    "lacks its part": {".lora_up.weight": np.ones((24, 4), np.float32)},
    "do not fit": {".lora_up.weight": np.ones((24, 4), np.float32), ".lora_down.weight": np.ones((5, 20), np.float32)},
    "is empty": {".lora_up.weight": np.ones((24, 0), np.float32), ".lora_down.weight": np.ones((0, 20), np.float32)},
    "not finite": CASES["lora"].parts | {".lora_up.weight": np.full((24, 4), np.nan, np.float32)},
    "an alpha that is no number": CASES["lora"].parts | {".alpha": np.array(np.inf, np.float32)},
    "no squares": {".oft_blocks": np.ones((4, 6, 5), np.float32)},
    "makes its layer larger": CASES["lora"].parts | {".reshape_weight": np.array([48, 20], np.int64)},
    "has 23 magnitudes": CASES["lora"].parts | {".dora_scale": np.ones((1, 23), np.float32)},
    "outputs, but the layer has 24": {".oft_blocks": np.ones((4, 5, 5), np.float32)},
    "has 7 numbers": {".weight": np.ones(7, np.float32), ".on_input": np.array(0, np.int64)},
    "in 9 stages": {".oft_blocks": np.ones((9, 4, 6, 6), np.float32)},
}  # fmt: skip


@pytest.mark.parametrize("said", WRONG)
def test_a_module_that_is_wrong_is_refused_with_a_sentence(tmp_path: Path, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        only(tmp_path, WRONG[said]).delta(np.ones((24, 20), np.float32))


def test_a_weight_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"\[24, 20\], but the model has \[20, 24\]"):
        only(tmp_path, CASES["lora"].parts).delta(np.ones((20, 24), np.float32))


@pytest.mark.parametrize(("ending", "said"), [("lambda_layer", "T-LoRA"), ("oft_R.weight", "OFT of PEFT")])
def test_a_kind_whose_file_lacks_what_it_means_is_refused_with_the_reason(
    tmp_path: Path, ending: str, said: str
) -> None:
    parts = {f".{ending}": np.ones((1, 4), np.float32)}
    if ending == "lambda_layer":
        parts |= {".p_layer.weight": np.ones((24, 4), np.float32), ".q_layer.weight": np.ones((4, 20), np.float32)}
    with pytest.raises(WeightsError, match=said):
        only(tmp_path, parts)


def test_a_change_of_any_claimed_size_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    # LoKr multiplies the shapes of two small tensors.
    parts = {".lokr_w1": np.ones((40_000, 1), np.float32), ".lokr_w2": np.ones((1, 60_000), np.float32)}
    with pytest.raises(WeightsError, match="too large"):
        only(tmp_path, parts).delta()


ENDINGS = sorted({ending for case in CASES.values() for ending in case.parts})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(ENDINGS), st.lists(st.sampled_from([0, 1, 2, 3, 4, 6]), max_size=5), min_size=1, max_size=6
    ),
    st.lists(st.sampled_from([1, 2, 4, 6, 24]), min_size=1, max_size=4),
)
def test_parts_of_any_shapes_give_a_change_of_the_right_shape_or_a_sentence(
    tmp_path: Path, shapes: dict[str, list[int]], base: list[int]
) -> None:
    path = tmp_path / "wild.safetensors"
    tensors = {f"a{ending}": np.full(shape, 0.25, np.float32) for ending, shape in shapes.items()}
    small_models.write(path, tensors)
    try:
        with Weights(path) as weights:
            for module in modules.read(weights).modules:
                weight = np.ones(base, np.float32)
                if module.has_weight:
                    assert module.effect(weight, 0.5).shape == tuple(base)
                module.bias(1.0)
    except EaselError as error:
        said = error.message
    else:
        said = "a change"
    assert said


def test_lycoris_itself_computes_the_same_weights(tmp_path: Path) -> None:
    """LyCORIS, which trains these kinds, merges each module into a weight at strength 1, and at 0.6 where the rule is the same."""
    if not KOHYA.exists():
        pytest.skip(f"There is no {KOHYA}: install the engine to compare with LyCORIS.")
    # LyCORIS has neither its old GLoRA nor sd-scripts' OFT in pieces, and does not load magnitudes of the inputs.
    own = {
        name: case
        for name, case in CASES.items()
        if name not in ("glora_old", "oft_pieces", "dora_input", "norm", "lokr_both")
    }
    tensors = {f"{name}{ending}": np.asarray(each) for name, case in own.items() for ending, each in case.parts.items()}
    tensors |= {f"{name}.base": base_of(case) for name, case in own.items()}
    small_models.write(tmp_path / "cases.safetensors", tensors)
    script = ROOT / "tests" / "support" / "lycoris_weights.py"
    subprocess.run(
        [KOHYA, script, tmp_path / "cases.safetensors", tmp_path / "merged.safetensors"], check=True, timeout=120
    )
    merged = small_models.read(tmp_path / "merged.safetensors")
    compared = set()
    for key, theirs in merged.items():
        name, _, strength = key.partition("@")
        if float(strength) != 1 and own[name].kind == "dora":
            continue  # LyCORIS keeps the change at any strength: see trainer_core/weights/networks/dora.py
        base = base_of(own[name])
        ours = base + only(tmp_path, own[name].parts).effect(base, float(strength))
        error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        assert error < 2e-5, (key, error)
        compared.add(name)
    assert compared == set(own)


def test_a_header_of_wild_names_is_read_or_refused(tmp_path: Path) -> None:
    table = {
        f"{'../' * 3}a{ending}": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
        for ending in (".lora_up.weight", ".lora_down.weight")
    }
    text = json.dumps(table).encode()
    path = tmp_path / "wild.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(EaselError) as error:
        network(path)
    assert error.value.message
