"""Native arguments of networks are held against the form in which their module reads them."""

from __future__ import annotations

import pytest

from backends.kohya import backend, network_arguments

ROWS = backend.manifest.tables["network_arguments"]


@pytest.mark.parametrize(
    ("module", "key", "value", "family"),
    [
        ("networks.lora_flux", "train_double_block_indices", "0-18", "flux"),
        ("networks.lora_flux", "train_single_block_indices", "1, 3-5,37", "chroma"),
        ("networks.lora_flux", "split_qkv", "True", "flux"),
        ("networks.lora_flux", "network_reg_lrs", "single_blocks=1e-4, double_blocks=5e-5", "flux"),
        ("networks.lora", "down_lr_weight", "0,0,0,0,0,0,0.5,1,1,1,1,", "sd15"),
        ("networks.lora", "up_lr_weight", "cosine+0.25", "sdxl"),
        ("networks.lora", "mid_lr_weight", "1,0.5,1", "sdxl"),
        ("networks.lora_anima", "include_patterns", r"['.*attn.*', 'mlp\\d']", "anima"),
        ("lycoris.kohya", "bypass_mode", "true", "sd15"),
    ],
)
def test_what_a_module_reads_is_taken(module: str, key: str, value: str, family: str):
    assert network_arguments.complaint(key, value, ROWS[module][key], family, "lokr") is None


@pytest.mark.parametrize(
    ("module", "key", "value", "family"),
    [
        ("networks.lora_flux", "train_double_block_indices", "19", "flux"),
        ("networks.lora_flux", "train_double_block_indices", "5-3", "flux"),
        ("networks.lora_flux", "train_double_block_indices", "first", "flux"),
        ("networks.lora_flux", "split_qkv", "true", "flux"),
        ("networks.lora_flux", "train_t5xxl", "True", "chroma"),
        ("networks.lora_flux", "network_reg_lrs", "single_blocks:1e-4", "flux"),
        ("networks.lora_flux", "network_reg_lrs", "*=1e-4", "flux"),
        ("networks.lora_flux", "ggpo_beta", "nan", "flux"),
        ("networks.lora", "down_lr_weight", "0.5", "sd15"),
        ("networks.lora", "down_lr_weight", "1,1,1", "sdxl"),
        ("networks.lora", "up_lr_weight", "cosine+much", "sdxl"),
        ("networks.lora", "mid_lr_weight", "cosine", "sdxl"),
        ("networks.lora_fa", "down_lr_weight", "cosine", "sdxl"),
        ("networks.lora_anima", "exclude_patterns", ".*attn.*", "anima"),
        ("networks.lora_anima", "exclude_patterns", "['(']", "anima"),
        ("lycoris.kohya", "use_scalar", "yes", "sd15"),
        ("lycoris.kohya", "train_t5xxl", "True", "sd15"),
        ("lycoris.kohya", "unbalanced_factorization", "True", "sd15"),
    ],
)
def test_what_a_module_stops_at_or_takes_for_something_else_is_said(module: str, key: str, value: str, family: str):
    said = network_arguments.complaint(key, value, ROWS[module][key], family, "loha")
    assert said is not None
    assert key in said


def test_every_form_is_known():
    for module, rows in ROWS.items():
        for key, row in rows.items():
            assert isinstance(row["form"], list) or row["form"] in network_arguments.FORMS, f"{module}: {key}"
            assert set(row.get("families", ())) <= set(backend.manifest.families)
            assert set(row) <= {"form", "families", "algorithms"}
