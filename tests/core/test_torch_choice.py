"""The torch builds that the engines' own tables give for each device."""

import pytest

from trainer_core.engines import manifest
from trainer_core.hardware import Accelerator
from trainer_core.install.torch_choice import NoTorch, choices

CARDS = {
    "GTX 1080": "6.1",
    "V100": "7.0",
    "T4": "7.5",
    "RTX 3090": "8.6",
    "RTX 4090": "8.9",
    "H200": "9.0",
    "B200": "10.0",
    "RTX 5090": "12.0",
    "Thor": "11.0",
}
REGISTRY = "registry"


def first(engine: str, variant: int, device: Accelerator) -> str:
    return choices(manifest.read(engine).environment[variant].torch, device, engine)[0].build


def card(name: str, driver: str) -> Accelerator:
    return Accelerator("cuda", name, architecture=CARDS[name], driver=driver)


@pytest.mark.parametrize(
    ("engine", "variant", "name", "driver", "build"),
    [
        ("kohya", 0, "GTX 1080", "550.54.15", "cu126"),
        ("kohya", 0, "V100", "535.104", REGISTRY),
        ("kohya", 0, "T4", "525.60.13", REGISTRY),
        ("kohya", 0, "RTX 4090", "580.65.06", REGISTRY),
        ("kohya", 0, "RTX 5090", "570.86", REGISTRY),
        ("kohya", 0, "H200", "610", REGISTRY),
        ("kohya", 0, "RTX 3090", "525.60.12", "cu118"),
        ("kohya", 0, "T4", "470.82", "cu118"),
        ("simpletuner", 0, "RTX 4090", "580.65.06", REGISTRY),
        ("simpletuner", 0, "RTX 4090", "570.86", "cu126"),
        ("simpletuner", 0, "RTX 4090", "525.60.13", "cu126"),
        ("simpletuner", 0, "V100", "580.65.06", "cu126"),
        ("simpletuner", 0, "B200", "580", REGISTRY),
        ("simpletuner", 1, "RTX 5090", "570.86", REGISTRY),
        ("simpletuner", 1, "GTX 1080", "570.86", "cu126"),
    ],
)
def test_a_card_and_its_driver_determine_the_build(engine, variant, name, driver, build):
    assert first(engine, variant, card(name, driver)) == build


@pytest.mark.parametrize(
    ("engine", "variant", "name", "driver", "advice"),
    [
        ("kohya", 0, "RTX 5090", "520.61", "525.60.13"),
        ("kohya", 0, "T4", "440.33", "450.80.02"),
        ("kohya", 0, "Thor", "580", "another GPU"),
        ("simpletuner", 0, "RTX 5090", "570.86", "580"),
        ("simpletuner", 0, "RTX 4090", "515.43", "525.60.13"),
        ("simpletuner", 1, "RTX 5090", "515.43", "525.60.13"),
    ],
)
def test_a_device_that_cannot_run_is_refused_with_advice(engine, variant, name, driver, advice):
    with pytest.raises(NoTorch) as caught:
        first(engine, variant, card(name, driver))
    assert name in caught.value.message
    assert advice in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "device", "builds"),
    [
        ("kohya", Accelerator("cpu", "x"), ["cpu", REGISTRY]),
        ("simpletuner", Accelerator("cpu", "x"), ["cpu", REGISTRY]),
        ("kohya", Accelerator("rocm", "x", architecture="gfx1100"), ["rocm7.1", "rocm6.4"]),
        ("kohya", Accelerator("xpu", "x"), ["xpu"]),
        ("simpletuner", Accelerator("rocm", "x", architecture="gfx1201"), ["rocm7.2"]),
        ("simpletuner", Accelerator("mps", "x"), [REGISTRY]),
    ],
)
def test_other_devices(engine, device, builds):
    found = choices(manifest.read(engine).environment[0].torch, device, engine)
    assert [choice.build for choice in found] == builds
    assert all(choice.pins for choice in found if choice.build != REGISTRY)


def test_amd_cards_without_kernels_and_engines_without_a_build_are_refused():
    with pytest.raises(NoTorch, match="gfx1036"):
        first("kohya", 0, Accelerator("rocm", "APU", architecture="gfx1036"))
    with pytest.raises(NoTorch, match="xpu") as caught:
        first("simpletuner", 0, Accelerator("xpu", "Arc"))
    assert "cuda" in caught.value.hint


@pytest.mark.parametrize("engine", ["kohya", "simpletuner"])
def test_unknown_properties_of_a_device_count_as_allowed(engine):
    assert first(engine, 0, Accelerator("cuda", "not found here")) == REGISTRY


def test_the_reason_is_a_sentence_that_names_the_device():
    rows = manifest.read("simpletuner").environment[0].torch
    reason = choices(rows, card("RTX 4090", "570.86"), "SimpleTuner")[0].reason
    assert (
        reason
        == "torch: 2.13.0 for cu126 (it supports older drivers and older GPUs), for RTX 4090 (8.9, driver 570.86)."
    )
