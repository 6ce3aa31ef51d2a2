"""The list of every setting of a job: complete, each once, with help or the statement that there is none, and true about what can be set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer_core import places
from trainer_core.engines import arguments, audit, option_help, options, registry
from trainer_core.engines.launcher import TABLE
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.plan import fields
from trainer_core.prepare import all_settings, entering, own_settings, switching
from trainer_core.prepare.workbench import Workbench

ENGINES = {engine.manifest.id: engine for engine in registry.available()}
CELLS = [
    (engine, family, method)
    for engine, backend in ENGINES.items()
    for family, claim in backend.manifest.families.items()
    for method in claim.methods
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "easel"))
    return tmp_path / "easel"


def bench(engine: str, family: str = "", method: str = "lora", **values) -> Workbench:
    """A bench with a plan for a family of an engine: SDXL, or one that it trains."""
    trained = ENGINES[engine].manifest.families
    found = Workbench(engine=engine)
    found.set(
        {"model.family": family or ("sdxl" if "sdxl" in trained else min(trained)), "model.method": method, **values}
    )
    return found


def rows(found: Workbench) -> dict[str, all_settings.Row]:
    return {row.path: row for row in all_settings.rows(found.state, found.problems)}


@pytest.mark.parametrize(("engine", "family", "method"), CELLS)
def test_every_setting_and_every_option_of_the_program_is_listed_exactly_once(engine, family, method):
    found = all_settings.rows(bench(engine, family, method).state)
    manifest = ENGINES[engine].manifest
    records = audit.records(manifest.schema)
    program = records[audit.program_of(manifest, family, method)]
    expected = [*fields.all_fields(), *(f"native.{engine}.{name}" for name in program.options)]
    if options.LAUNCHER in records:
        expected += [f"native.{engine}.{TABLE}.{name}" for name in records[options.LAUNCHER].options]
    state = bench(engine, family, method).state
    inside = arguments.of_plan(ENGINES[engine], state.draft.sketch(), NOT_KNOWN)
    settings = {(one.option, one.key) for one in inside if one.setting}
    expected += [one.path(engine) for one in inside if (one.option, one.key) not in settings]
    assert sorted(row.path for row in found) == sorted(expected)
    assert own_settings.count(bench(engine, family, method).state) == len(found)
    for row in found:
        assert row.help, row.path
        assert row.group in fields.SECTIONS or row.path.startswith("native."), row.path
        assert row.can_set != bool(row.why_not), row.path
        assert row.reason, row.path


def test_the_sections_of_the_list_are_those_of_the_plan():
    assert list(fields.SECTIONS) == list(dict.fromkeys(field.section for field in fields.all_fields().values()))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_is_not_installed_says_so_in_the_place_of_its_help(engine):
    native = [row for row in rows(bench(engine)).values() if row.path.startswith("native.")]
    assert native
    assert {row.help for row in native if not row.inside} == {
        f"The help of {ENGINES[engine].manifest.title} is shown once it is installed."
    }
    assert not any(row.has_help for row in native if not row.inside)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_help_of_an_installed_engine_is_its_own(engine, monkeypatch):
    installed = Path(__file__).parents[2] / "workspace" / "engines" / engine
    if not (installed / "installed.json").is_file():
        pytest.skip(f"{engine} is not installed")
    monkeypatch.setattr(places, "engines", lambda: installed.parent)
    native = [row for row in rows(bench(engine)).values() if row.path.startswith("native.") and not row.inside]
    without = [row for row in native if not row.has_help]
    assert {row.help for row in without} <= {f"{ENGINES[engine].manifest.title} has no help for it."}
    assert len(without) < len(native) / 10
    by_name = {row.title: row.help for row in native}
    wanted = {
        "kohya": ("ip_noise_gamma", "input perturbation"),
        "musubi": ("num_timestep_buckets", "buckets"),
        "simpletuner": ("input_perturbation", "noise"),
    }
    name, text = wanted[engine]
    assert text in by_name[name]
    # sd-scripts writes each text a second time, in Japanese.
    assert not any("\u3040" <= char <= "\u30ff" for text in by_name.values() for char in text)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_option_can_be_set_in_the_list_exactly_if_a_plan_may_contain_it(engine):
    """Each option gets a value of its type; the checks of the plan must refuse those that the list refuses, and no others."""
    found = bench(engine)
    listed = [row for row in rows(found).values() if row.path.startswith("native.") and not row.inside]
    native: dict = {}
    for row in listed:
        _, _, *keys = row.path.split(".")
        table = native.setdefault(keys[0], {}) if len(keys) > 1 else native
        table[keys[-1]] = "x"
    found.set({"native": {engine: native}})
    refusals = (" cannot be set", " follows from ", " has no effect here", " has no option ")
    refused = {problem.path for problem in found.problems if any(text in problem.message for text in refusals)}
    wrong = {row.path for row in listed if row.can_set == (row.path in refused)}
    assert wrong == set()


@pytest.mark.parametrize(
    ("engine", "family", "values"),
    [
        ("kohya", "sdxl", {}),
        ("kohya", "flux", {"optimizer.name": "Prodigy", "schedule.scheduler": "cosine"}),
        ("kohya", "sd15", {"network.algorithm": "lokr", "optimizer.name": "CAME"}),
        ("kohya", "sd15", {"network.algorithm": "lora_fa", "optimizer.name": "AdamW8bit"}),
        ("simpletuner", "sdxl", {"optimizer.name": "SOAP"}),
        ("simpletuner", "sdxl", {"optimizer.name": "Prodigy"}),
    ],
)
def test_a_key_inside_an_option_can_be_set_exactly_if_a_plan_may_contain_it(engine, family, values):
    """Each key gets a value of a form that nothing accepts: what can be set is refused for the value, the others for the key."""
    found = bench(engine, family, **values)
    listed = [row for row in rows(found).values() if row.inside]
    assert sum(row.can_set for row in listed) > 3
    many = {name: option.many for name, option in own_settings.program_of(found.state).options.items()}
    wrong = []
    for row in listed:
        value = arguments.with_entry(None, row.title, "?=?", many=many[row.inside])
        found.set({"native": {engine: {row.inside: value}}})
        said = [one.message for one in found.problems if one.path == f"native.{engine}.{row.inside}"]
        about_value = [text for text in said if " must " in text or "has no effect without" in text]
        if row.can_set != bool(about_value) or (not row.can_set and not said):
            wrong.append((row.path, row.can_set, said))
    assert wrong == []


@pytest.mark.parametrize(
    ("engine", "text", "path"),
    [
        ("kohya", "conv_dim", "network.conv_rank"),
        ("kohya", "conv_alpha", "network.conv_alpha"),
        ("kohya", "d_coef", "optimizer.d_coef"),
        ("kohya", "betas", "optimizer.beta1"),
        ("kohya", "algo", "network.algorithm"),
        ("kohya", "preset", "network.targets"),
        ("kohya", "dora_wd", "network.weight_decompose"),
        ("kohya", "use_bias_correction", "optimizer.bias_correction"),
        ("kohya", "down_lr_weight", "native.kohya.network_args.down_lr_weight"),
        ("kohya", "loraplus_lr_ratio", "native.kohya.network_args.loraplus_lr_ratio"),
        ("kohya", "block_dims", "native.kohya.network_args.block_dims"),
        ("kohya", "ggpo_beta", "native.kohya.network_args.ggpo_beta"),
        ("kohya", "growth_rate", "native.kohya.optimizer_args.growth_rate"),
        ("kohya", "amsgrad", "native.kohya.optimizer_args.amsgrad"),
        ("kohya", "num_cycles", "native.kohya.lr_scheduler_args.num_cycles"),
        ("simpletuner", "beta2_decay", "optimizer.decay_rate"),
        ("simpletuner", "kahan_sum", "native.simpletuner.optimizer_config.kahan_sum"),
    ],
)
def test_the_search_finds_the_keys_inside_options(engine, text, path):
    found = [row.path for row in all_settings.fitting(all_settings.rows(bench(engine).state), text)]
    assert path in found


def test_a_key_inside_an_option_is_entered_changed_and_removed_beside_the_others():
    found = bench("kohya", native={"kohya": {"network_args": ["verbose=True", "loraplus_lr_ratio=4"]}})
    path = "native.kohya.network_args.loraplus_lr_ratio"
    assert rows(found)[path].shown == "4"
    found.set(all_settings.entered(found, path, "16"))
    assert found.state.draft.values["native"]["kohya"]["network_args"] == ["verbose=True", "loraplus_lr_ratio=16"]
    found.set(all_settings.entered(found, "native.kohya.optimizer_args.amsgrad", "True"))
    assert found.state.draft.values["native"]["kohya"]["optimizer_args"] == ["amsgrad=True"]
    entering.reset(found, path)
    assert found.state.draft.values["native"]["kohya"]["network_args"] == ["verbose=True"]
    unknown = rows(found)["native.kohya.network_args.verbose"]
    assert (unknown.can_set, unknown.is_mine) == (False, True)
    entering.reset(found, "native.kohya.network_args.verbose")
    entering.reset(found, "native.kohya.optimizer_args.amsgrad")
    assert "native" not in found.state.draft.values
    other = bench("simpletuner")
    other.set(all_settings.entered(other, "native.simpletuner.optimizer_config.kahan_sum", "true"))
    other.set(all_settings.entered(other, "native.simpletuner.optimizer_config.max_lr", "1e-3"))
    assert other.state.draft.values["native"]["simpletuner"] == {"optimizer_config": "kahan_sum=true,max_lr=1e-3"}


def test_the_path_of_a_key_works_in_a_terminal_and_in_a_sweep(tmp_path):
    from trainer_core.prepare import sweep
    from trainer_core.prepare.native import merged

    below = {"kohya": {"network_args": ["verbose=True"], "ip_noise_gamma": 0.1}}
    above = {
        "kohya": {"network_args": {"loraplus_lr_ratio": 16}},
        "simpletuner": {"optimizer_config": {"kahan_sum": "true"}},
    }
    assert merged(below, above) == {
        "kohya": {"network_args": ["verbose=True", "loraplus_lr_ratio=16"], "ip_noise_gamma": 0.1},
        "simpletuner": {"optimizer_config": "kahan_sum=true"},
    }
    assert merged({"unknown": {"a": {"b": 1}}}, {"unknown": {"a": {"c": 2}}}) == {"unknown": {"a": {"b": 1, "c": 2}}}
    found = bench("kohya", native=below)
    members = sweep.checked(found, sweep.grid({"native.kohya.network_args.loraplus_lr_ratio": ["4", "16"]}))
    lists = [member.bench.state.draft.values["native"]["kohya"]["network_args"] for member in members]
    assert lists == [["verbose=True", "loraplus_lr_ratio=4"], ["verbose=True", "loraplus_lr_ratio=16"]]
    told = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "trainer_core.cli",
                "settings",
                "--engine",
                "kohya",
                "--model-family",
                "sdxl",
                "--json",
            ),
            *("--set", "native.kohya.network_args.loraplus_lr_ratio=16", "--find", "loraplus_lr_ratio"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    row = next(row for row in json.loads(told.stdout) if row["title"] == "loraplus_lr_ratio")
    assert (row["shown"], row["is_mine"], row["inside"]) == ("16", True, "network_args")


def test_a_default_says_whose_it_is_and_the_engines_own_is_shown_where_it_differs():
    found = rows(bench("kohya"))
    assert found["network.dropout"].source == all_settings.EASELS
    assert found["schedule.batch_size"].engine_default == ""
    assert found["optimizer.learning_rate"].engine_default == "2e-6 (--learning_rate)"


def test_a_value_is_entered_in_the_type_of_the_option_and_text_that_is_none_is_kept():
    found = bench("kohya")
    entries = {
        "native.kohya.ip_noise_gamma": ("0.1", 0.1),
        "native.kohya.multires_noise_iterations": ("6", 6),
        "native.kohya.masked_loss": (True, True),
        "native.kohya.network_args": ("loraplus_lr_ratio=4 'conv_dim=8'", ["loraplus_lr_ratio=4", "conv_dim=8"]),
        "native.kohya.launch.num_processes": ("2", 2),
        "native.kohya.min_timestep": ("ten", "ten"),
        "network.rank": ("32", 32),
        "network.alpha": ("much", "much"),
    }
    for path, (given, value) in entries.items():
        found.set(all_settings.entered(found, path, given))
        row = rows(found)[path]
        assert row.value == value, path
        assert row.is_mine, path
    assert rows(found)["native.kohya.min_timestep"].severity == "error"
    assert "whole number" in rows(found)["native.kohya.min_timestep"].problem
    assert rows(found)["network.alpha"].severity == "error"
    assert rows(found)["network.alpha"].shown == "much"
    for path in entries:
        entering.reset(found, path)
        assert not rows(found)[path].is_mine, path
    assert "native" not in found.state.draft.values


def test_a_reset_keeps_the_other_native_settings():
    found = bench(
        "kohya", native={"kohya": {"ip_noise_gamma": 0.1, "launch": {"num_processes": 2}}, "simpletuner": {"a": 1}}
    )
    entering.reset(found, "native.kohya.launch.num_processes")
    assert found.state.draft.values["native"] == {"kohya": {"ip_noise_gamma": 0.1}, "simpletuner": {"a": 1}}


def test_an_owned_option_has_the_value_that_would_be_written_and_names_its_setting():
    found = rows(bench("kohya", **{"network.rank": 24}))
    dim = found["native.kohya.network_dim"]
    assert (dim.value, dim.follows, dim.source) == (24, "network.rank", "from Rank")
    assert "network_dim" in found["network.rank"].options
    assert found["network.rank"].source == "yours"


def test_native_settings_that_the_program_does_not_have_can_be_seen_and_removed():
    found = bench("kohya", native={"kohya": {"no.such": 1}, "simpletuner": {"lora_alpha": 2}})
    listed = rows(found)
    assert listed["native.kohya.no.such"].is_mine
    assert not listed["native.kohya.no.such"].can_set
    assert listed["native.simpletuner.lora_alpha"].why_not == "It is used only when simpletuner trains."
    entering.reset(found, "native.kohya.no.such")
    assert "native.kohya.no.such" not in rows(found)


def test_a_secret_in_a_plan_is_not_shown():
    token = "hf_" + "a" * 30
    found = rows(bench("kohya", native={"kohya": {"huggingface_token": token, "wandb_api_key": "b" * 40}}))
    assert token not in json.dumps([row.shown for row in found.values()])
    assert found["native.kohya.wandb_api_key"].shown == all_settings.NOT_SHOWN


def test_a_setting_without_effect_says_why():
    found = rows(bench("kohya"))
    assert found["schedule.flow_shift"].why_not.startswith("Only for models with the prediction type flow")
    assert found["embedding.init_word"].why_not.startswith("Only for the method")
    assert found["model.t5xxl"].why_not == "kohya sd-scripts needs no such file for this model."
    assert (
        found["network.block_size"].why_not.startswith("LoRA does not read it.")
        if "network.block_size" in found
        else True
    )


def test_another_engine_names_what_does_not_carry_over_and_the_way_back_restores_it():
    found = bench("kohya", **{"dataset.color_augmentation": True, "memory.cache_latents": False})
    found.set({"native": {"kohya": {"ip_noise_gamma": 0.1}}})
    before = found.state.draft.values
    switched = switching.switch(found, "simpletuner")
    lost = {one.path: one.why for one in switched.lost}
    assert {"dataset.color_augmentation", "native.kohya.ip_noise_gamma"} <= set(lost)
    assert "network.rank" not in lost
    assert all(lost.values())
    assert "ip_noise_gamma 0.1 (an option of kohya)" in switched.message
    found.use_engine(switched.back)
    assert found.state.backend.manifest.id == "kohya"
    assert found.state.draft.values == before
    assert switching.switch(found, "kohya") is None


def test_help_is_read_from_source_code_without_running_it(tmp_path):
    (tmp_path / "one.py").write_text(
        "raise SystemExit('run')\n"
        "p.add_argument('--rank', help='the rank / ランク')\n"
        "p.add_argument('--rate', '-r', help='a ' + 'rate, 50%% / 率')\n"
        "p.add_argument('--none')\n"
        "add(Field(arg_name='--from-field', help_text='of a field', tooltip='no'))\n"
    )
    (tmp_path / "two.py").write_text("p.add_argument('--rank', help='of two')\n")
    (tmp_path / "broken.py").write_text("p.add_argument('--x', help='y'\n")
    expected = {"rank": "the rank", "rate": "a rate, 50%", "from_field": "of a field"}
    assert option_help.read(tmp_path, ["*.py"]) == expected
    assert option_help.read(tmp_path, ["*.py"], "two_train")["rank"] == "of two"
    assert option_help.read(tmp_path / "missing", ["*.py"]) == {}


def test_the_command_line_finds_settings_by_words_and_prints_json():
    command = [sys.executable, "-m", "trainer_core.cli", "settings", "--engine", "kohya", "--model-family", "sdxl"]
    done = subprocess.run([*command, "--find", "noise offset", "--json"], capture_output=True, text=True, check=True)
    found = {row["path"]: row for row in json.loads(done.stdout)}
    assert {"schedule.noise_offset", "native.kohya.noise_offset"} <= set(found)
    assert found["native.kohya.noise_offset"]["can_set"] is False
    mine = subprocess.run([*command, "--mine", "--json"], capture_output=True, text=True, check=True)
    assert [row["path"] for row in json.loads(mine.stdout)] == ["model.family"]
