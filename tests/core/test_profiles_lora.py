"""A profile from a finished LoRA: what its header contains, what it does not, and invalid metadata."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support import engine_plans, recorded_headers
from trainer_core import places, profiles
from trainer_core.cli import easel
from trainer_core.engines import registry
from trainer_core.errors import ProfileError
from trainer_core.models import detection, header
from trainer_core.problems import blocking
from trainer_core.profiles.exporting import plain_id


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))


def run(*arguments):
    done = CliRunner().invoke(easel, ["profiles", *map(str, arguments)])
    return done.exit_code, done.output


KOHYA = {
    "ss_network_module": "networks.lora",
    "ss_network_dim": "4",
    "ss_network_alpha": "2.0",
    "ss_network_args": "{}",
    "ss_unet_lr": "0.0003",
    "ss_learning_rate": "0.0001",
    "ss_text_encoder_lr": "[5e-05]",
    "ss_lr_scheduler": "cosine_with_restarts",
    "ss_lr_warmup_steps": "0.05",
    "ss_max_train_steps": "1600",
    "ss_gradient_accumulation_steps": "2",
    "ss_min_snr_gamma": "5.0",
    "ss_noise_offset": "None",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))",
    "ss_max_grad_norm": "1.0",
    "ss_clip_skip": "2",
    "ss_seed": "7",
    "ss_gradient_checkpointing": "True",
    "ss_datasets": json.dumps(
        [
            {
                "batch_size_per_device": 3,
                "resolution": [768, 768],
                "enable_bucket": True,
                "subsets": [
                    {
                        "num_repeats": 6,
                        "shuffle_caption": True,
                        "keep_tokens": 1,
                        "class_tokens": "ohwx",
                        "flip_aug": True,
                    }
                ],
            }
        ]
    ),
    "ss_tag_frequency": json.dumps({"ohwx": {"ohwx": 12}}),
    "ss_output_name": "ohwx_elena",
}


def lora(tmp_path, name="lora-kohya-sd15", called="found.safetensors", **metadata):
    recorded = json.loads((Path(__file__).parents[1] / "data" / "roles" / f"{name}.json").read_text())
    path = tmp_path / called
    recorded_headers.write_file(path, dict(recorded_headers._leaves(recorded["tensors"])), metadata)
    return path


def out_of(path, **more):
    found = header.read(path)
    return profiles.from_lora(found, detection.detect(found), **more)


def test_a_lora_of_kohya_contains_its_training_settings(tmp_path):
    path = lora(tmp_path, **KOHYA)
    draft = out_of(path)
    profile, rank = draft.profile, detection.detect(header.read(path)).rank
    expected = {
        "network.rank": rank,
        "network.alpha": 2.0,
        "optimizer.name": "AdamW8bit",
        "optimizer.learning_rate": 3e-4,
        "optimizer.weight_decay": 0.1,
        "optimizer.beta2": 0.99,
        "schedule.steps": 1600,
        "schedule.batch_size": 3,
        "schedule.gradient_accumulation": 2,
        "schedule.scheduler": "cosine_with_restarts",
        "schedule.warmup_steps": 80,
        "schedule.min_snr_gamma": 5.0,
        "dataset.resolution": 768,
        "dataset.repeats": 6,
        "dataset.shuffle_captions": True,
        "dataset.keep_tokens": 1,
        "dataset.flip": True,
        "model.clip_skip": 2,
    }
    assert {path: profile.settings.get(path) for path in expected} == expected
    assert profile.family == "sd15"
    assert profile.unknown == ("schedule.noise_offset",)
    assert "Noise offset" in draft.notes[-1]
    assert all(path in profile.reasons for path in profile.settings if path != "model.method")
    text = profiles.dumps(profile)
    assert profiles.loads(text) == profile
    for word in ("ohwx", "elena", "schedule.seed", "memory"):
        assert word not in text


def test_the_settings_of_a_lora_can_be_trained_again(tmp_path):
    profile = out_of(lora(tmp_path, **KOHYA)).profile
    kohya = registry.get("kohya")
    values = {path.replace(".", "__"): value for path, value in profile.settings.items()}
    found = engine_plans.problems(kohya, engine_plans.plan("sd15", **values))
    assert not [each.message for each in blocking(found) if each.path not in ("model.path", "dataset.path")]
    assert not [each.message for each in found if "no effect" in each.message]


def test_lycoris_networks_and_a_dataset_without_tables(tmp_path):
    told = {
        "ss_network_module": "lycoris.kohya",
        "ss_network_args": json.dumps({"algo": "lokr", "factor": "8", "conv_dim": "4", "full_matrix": "True"}),
        "ss_resolution": "(1024, 768)",
        "ss_dataset_dirs": json.dumps({"10_a": {"n_repeats": 10, "img_count": 20}}),
        "ss_optimizer": "prodigyopt.prodigy.Prodigy(d_coef=2.0,use_bias_correction=True,decouple=True)",
        "ss_min_snr_gamma": "5.0",
        "ss_text_encoder_lr": "5e-05",
    }
    draft = out_of(lora(tmp_path, "lora-lycoris-flux-lokr", **told))
    found = draft.profile
    assert found.family == "flux"
    assert found.settings["network.algorithm"] == "lokr"
    assert (found.settings["network.factor"], found.settings["network.full_matrix"]) == (8, True)
    assert (found.settings["optimizer.name"], found.settings["optimizer.d_coef"]) == ("Prodigy", 2.0)
    assert found.settings["optimizer.bias_correction"] is True
    assert (found.settings["dataset.resolution"], found.settings["dataset.repeats"]) == (887, 10)
    assert not {"schedule.noise_offset", "schedule.min_snr_gamma"} & {*found.unknown, *found.settings}
    assert "Min-SNR gamma was left out: a flow model is trained without it." in draft.notes
    assert "optimizer.text_encoder_learning_rate" not in found.settings, "it was not trained"


@pytest.mark.parametrize(
    ("base", "length", "found"),
    [("sd_v1", "225", 225), ("sdxl_base_v1-0", "150", 150), ("sd_v1", "None", None), ("flux1", "225", None)],
)
def test_the_length_of_captions_where_the_family_reads_it(tmp_path, base, length, found):
    told = {**KOHYA, "ss_base_model_version": base, "ss_max_token_length": length}
    assert out_of(lora(tmp_path, **told)).profile.settings.get("dataset.caption_tokens") == found


OTHERS = {
    "OneTrainer": (
        {
            "ot_branch": "master",
            "ot_revision": "23df383",
            "modelspec.resolution": "1024x1024",
            "ot_config": json.dumps(
                {
                    "__version": 11,
                    "model_type": "STABLE_DIFFUSION_15",
                    "learning_rate": 3e-6,
                    "unet": {"learning_rate": 3e-4, "train": True},
                    "text_encoder": {"learning_rate": None, "train": False},
                    "learning_rate_scheduler": "COSINE",
                    "learning_rate_warmup_steps": 200.0,
                    "learning_rate_min_factor": 0.0,
                    "batch_size": 4,
                    "gradient_accumulation_steps": 2,
                    "resolution": "512",
                    "text_encoder_layer_skip": 1,
                    "peft_type": "LORA",
                    "lora_rank": 16,
                    "lora_alpha": 1.0,
                    "optimizer": {"optimizer": "ADAMW", "weight_decay": 0.02, "beta1": 0.9},
                    "loss_weight_fn": "MIN_SNR_GAMMA",
                    "loss_weight_strength": 5.0,
                    "workspace_dir": "/home/elena",
                }
            ),
        },
        {
            "optimizer.learning_rate": 3e-4,
            "schedule.scheduler": "cosine",
            "schedule.warmup_steps": 100,
            "schedule.batch_size": 4,
            "schedule.gradient_accumulation": 2,
            "dataset.resolution": 512,
            "model.clip_skip": 2,
            "network.alpha": 1.0,
            "optimizer.name": "AdamW",
            "optimizer.weight_decay": 0.02,
            "schedule.min_snr_gamma": 5.0,
        },
    ),
    "ai-toolkit": (
        {"software": '{"name": "ai-toolkit"}', "training_info": '{"step": 2000, "epoch": 9}'},
        {"schedule.steps": 2000},
    ),
    "SimpleTuner": (
        {
            "modelspec.implementation": "diffusers",
            "modelspec.resolution": "1024x1024",
            "global_step": "900",
            "lora_adapter_metadata": json.dumps({"unet.lora_alpha": 2, "unet.lora_dropout": 0.1}),
        },
        # a run at 64 px wrote 1024x1024: it is an option that no dataset uses
        {"dataset.resolution": None, "schedule.steps": 900, "network.alpha": 2.0, "network.dropout": 0.1},
    ),
    "an unknown program": ({"modelspec.resolution": "640x640"}, {"dataset.resolution": 640}),
}


@pytest.mark.parametrize("writer", OTHERS)
def test_loras_of_other_programs_give_what_they_contain_and_the_rest_is_unknown(writer, tmp_path):
    metadata, expected = OTHERS[writer]
    profile = out_of(lora(tmp_path, **metadata)).profile
    assert {path: profile.settings.get(path) for path in expected} == expected
    assert writer in profile.explanation
    assert "schedule.steps" in (*profile.settings, *profile.unknown)
    assert not set(profile.unknown) & set(profile.settings)
    assert "dataset.repeats" in profile.unknown
    assert "elena" not in profiles.dumps(profile)


def one_trainer(tmp_path, name="lora-kohya-sd15", **config):
    config = {"model_type": "STABLE_DIFFUSION_XL_10_BASE", **config}
    return out_of(lora(tmp_path, name, ot_revision="23df383", ot_config=json.dumps(config)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # it rises and falls again, which no scheduler of Easel does
        ({"learning_rate_scheduler": "COSINE_WITH_RESTARTS"}, {"schedule.scheduler": None}),
        (
            {"learning_rate_scheduler": "COSINE_WITH_HARD_RESTARTS", "learning_rate_cycles": 3.0},
            {"schedule.scheduler": "cosine_with_restarts", "schedule.restarts": 3},
        ),
        (
            {"learning_rate_scheduler": "CONSTANT", "learning_rate_warmup_steps": 200.0},
            {"schedule.scheduler": "constant_with_warmup", "schedule.warmup_steps": 200},
        ),
        (
            {"learning_rate_scheduler": "COSINE", "learning_rate_warmup_steps": 0.05},
            {"schedule.scheduler": "cosine", "schedule.warmup_steps": None},
        ),
        (
            {"learning_rate_scheduler": "COSINE", "learning_rate_min_factor": 0.1},
            {"schedule.scheduler": "cosine_with_min_lr", "schedule.min_rate_ratio": 0.1},
        ),
        ({"resolution": "512,768"}, {"dataset.resolution": None}),
        ({"resolution": "1024x768"}, {"dataset.resolution": 887}),
        (
            {"learning_rate": 1e-4, "learning_rate_scaler": "BATCH", "batch_size": 4},
            {"optimizer.learning_rate": 2e-4},
        ),
        (
            {"learning_rate": 1e-4, "learning_rate_scaler": "GLOBAL_BATCH", "batch_size": 4, "multi_gpu": True},
            {"optimizer.learning_rate": None},
        ),
        ({"loss_weight_fn": "CONSTANT", "loss_weight_strength": 5.0}, {"schedule.min_snr_gamma": 0.0}),
        (
            {"offset_noise_weight": 0.05, "generalized_offset_noise": True},
            {"schedule.noise_offset": None},
        ),
        ({"clip_grad_norm": None}, {"optimizer.max_grad_norm": None}),
        ({"optimizer": {"optimizer": "CAME", "beta3": 0.999, "eps": None}}, {"optimizer.beta3": 0.999}),
        ({"optimizer": {"optimizer": "MUON_ADV"}}, {"optimizer.name": None}),
    ],
    ids=str,
)
def test_settings_of_onetrainer_are_read_as_its_code_uses_them(config, expected, tmp_path):
    draft = one_trainer(tmp_path, **config)
    assert {path: draft.profile.settings.get(path) for path in expected} == expected


def test_a_lokr_of_onetrainer_has_its_own_rank(tmp_path):
    profile = one_trainer(
        tmp_path, "lora-lycoris-flux-lokr", peft_type="LOKR", lora_rank=16, lokr_dim=24, lokr_decompose_factor=8
    ).profile
    assert profile.settings["network.algorithm"] == "lokr"
    assert profile.settings.get("network.rank", 24) != 16
    assert profile.settings["network.factor"] == 8


def test_the_model_specification_of_onetrainer_is_not_read_as_training_settings(tmp_path):
    form = {"ot_branch": "master", "modelspec.resolution": "1024x1024", "modelspec.prediction_type": "epsilon"}
    profile = out_of(lora(tmp_path, **form)).profile
    assert ("dataset.resolution" in profile.unknown, profile.prediction) == (True, "")
    forced = out_of(lora(tmp_path, **form, ot_config='{"force_v_prediction": true}')).profile
    assert forced.prediction == "v_prediction"


def test_a_file_of_ai_toolkit_without_alpha_has_an_alpha_equal_to_its_rank(tmp_path):
    """As ai-toolkit writes them for transformers: its `software` block and lora_A, lora_B without alpha."""
    path = tmp_path / "found.safetensors"
    name = "transformer.single_transformer_blocks.0.attn.to_q"
    tensors = {f"{name}.lora_A.weight": ["F16", [16, 3072]], f"{name}.lora_B.weight": ["F16", [3072, 16]]}
    software = {"name": "ai-toolkit", "repo": "https://github.com/ostris/ai-toolkit", "version": "0.9.1"}
    metadata = {
        "training_info": '{"step": 2000, "epoch": 83}',
        "software": json.dumps(software),
        "ss_tag_frequency": '{"1_ohwx": {"ohwx": 1}}',
        "ss_output_name": "elena",
        "version": "1.0",
        "format": "pt",
    }
    recorded_headers.write_file(path, tensors, metadata)
    profile = out_of(path, family="flux").profile
    assert (profile.settings["network.rank"], profile.settings["network.alpha"]) == (16, 16.0)
    assert profile.settings["schedule.steps"] == 2000
    assert "ohwx" not in profiles.dumps(profile)
    assert "elena" not in profiles.dumps(profile)


def test_the_guessed_base_model_becomes_the_lineage_with_a_note(tmp_path):
    draft = out_of(lora(tmp_path, "lora-kohya-sdxl", **{**KOHYA, "ss_sd_model_name": "ponyDiffusionV6XL.safetensors"}))
    assert (draft.profile.family, draft.profile.lineage) == ("sdxl", "pony")
    assert any("is a guess" in note for note in draft.notes)
    own_name = out_of(lora(tmp_path, "lora-kohya-sdxl", called="pony.safetensors", **KOHYA))
    assert own_name.profile.lineage == ""


HOSTILE = {
    "ss_network_module": "networks.lora",
    "ss_network_alpha": "1e999",
    "ss_unet_lr": "-5",
    "ss_max_train_steps": "9" * 5000,
    "ss_lr_scheduler": "\x1b[31mrm -rf",
    "ss_optimizer": "os.system(weight_decay=9e99)" + "(" * 5000,
    "ss_min_snr_gamma": "21",
    "ss_keep_tokens": "nan",
    "ss_batch_size_per_device": "0x10",
    "ss_datasets": "[" * 5000,
    "ss_network_args": '{"conv_dim": ' + "9" * 400 + "}",
    "ss_resolution": "(" * 50,
    "ss_clip_skip": '{"a": 1}',
    "modelspec.prediction_type": "<script>",
}


def test_metadata_is_checked_and_invalid_values_are_left_out_with_a_note(tmp_path):
    draft = out_of(lora(tmp_path, called="\u202eevil\x1b[2J<img>.safetensors", **HOSTILE))
    told = set(draft.profile.settings) - {"model.method", "network.rank", "network.train_text_encoder"}
    assert told == set()
    assert {"optimizer.learning_rate", "schedule.steps", "optimizer.name"} <= set(draft.profile.unknown)
    assert any(note.startswith("ss_unet_lr was left out") for note in draft.notes)
    assert all(note.isprintable() for note in draft.notes)
    assert profiles.loads(profiles.dumps(draft.profile)) == draft.profile


def test_a_file_that_is_not_a_lora_or_has_no_family_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="not a LoRA"):
        out_of(recorded_headers.write("sd15", tmp_path))
    strange = tmp_path / "strange.safetensors"
    recorded_headers.write_file(
        strange, {"odd.layer.lora_down.weight": ["F16", [4, 99]], "odd.layer.lora_up.weight": ["F16", [99, 4]]}, {}
    )
    with pytest.raises(ProfileError, match="--family"):
        out_of(strange)
    assert out_of(strange, family="sdxl").profile.family == "sdxl"


def test_from_lora_writes_a_file_that_can_be_checked_and_imported(tmp_path):
    out = tmp_path / "out.toml"
    code, output = run("from-lora", lora(tmp_path, **KOHYA), "--out", out, "--id", "elena")
    assert code == 0
    assert "does not contain" in output
    assert run("check", out)[0] == 0
    assert run("import", out, "--yes")[0] == 0
    assert profiles.known()["elena"].unknown
    assert places.is_there(places.home() / "profiles" / "elena.toml")


def test_an_id_made_from_a_file_name_is_valid():
    assert [plain_id(name) for name in ("con", "sdxl-style", "Mika v2!", "...")] == [
        "my-con",
        "my-sdxl-style",
        "mika-v2",
        "profile",
    ]
