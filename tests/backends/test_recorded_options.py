"""options.toml covers every recorded option of an engine, and lists as ignored what the source code does not read."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from backends import kohya, simpletuner
from tests.support import unread_options
from trainer_core.engines import option_rules
from trainer_core.engines import options as engine_options
from trainer_core.engines.option_rules import Ignored, OptionRules
from trainer_core.install import environments

ENGINES = {"kohya": kohya, "simpletuner": simpletuner}


def schema(engine: str) -> Path:
    return Path(ENGINES[engine].__file__).parent / "schema"


def rules(engine: str):
    return ENGINES[engine].backend.manifest.options


RECORDS = [
    (engine, path.stem) for engine in ENGINES for path in sorted(schema(engine).glob("*.json")) if path.stem != "common"
]
SCRIPTS = [name for engine, name in RECORDS if engine == "kohya" and option_rules.is_program(rules("kohya"), name)]


def options(engine: str, name: str):
    return engine_options.load(schema(engine) / f"{name}.json")


def trained(engine: str) -> frozenset[str]:
    """The supported model families, by the engine's names."""
    claims = ENGINES[engine].backend.manifest.families.values()
    cells = (cell for claim in claims for cell in claim.methods.values())
    return frozenset(cell.model_family for cell in cells if cell.model_family)


@pytest.mark.parametrize(("engine", "name"), RECORDS)
def test_options_toml_covers_every_option(engine, name):
    table = option_rules.part(rules(engine), name)
    missing = [
        option
        for option, entry in options(engine, name).options.items()
        if option_rules.decide(table, option, name, entry.families, trained(engine)).kind == "unaccounted"
    ]
    assert not missing, f"backends/{engine}/options.toml does not contain {missing}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inner", ["", "launch"])
def test_each_listed_option_exists_and_is_listed_once(engine, inner):
    table = rules(engine).launch if inner else rules(engine)
    names = [*table.owned, *(name for topic in table.native.values() for name in topic)]
    names += [name for name in table.refused if "*" not in name]
    assert [name for name, times in collections.Counter(names).items() if times > 1] == []
    records = [name for owner, name in RECORDS if owner == engine and (name == "accelerate_launch") == bool(inner)]
    existing = {option for name in records for option in options(engine, name).options}
    # Options that only another version of the launcher has are listed, too.
    existing |= (
        {option for owner in ENGINES for option in options(owner, "accelerate_launch").options} if inner else set()
    )
    named = {*names, *table.weights, *(name for row in table.ignored for name in row.options)}
    assert sorted(named - existing) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_options_that_need_a_package_or_name_weights_are_native(engine):
    table = rules(engine)
    native = {name for topic in table.native.values() for name in topic}
    assert {*table.parts, *table.weights} <= native
    assert {*table.added} <= {*table.weights}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pattern_refuses_no_option_that_is_listed_by_name(engine):
    for table in (rules(engine), rules(engine).launch):
        for name in [*table.owned, *(name for topic in table.native.values() for name in topic)]:
            assert not option_rules.refusal(table, name), name


@pytest.mark.parametrize("engine", ENGINES)
def test_reasons_are_sentences(engine):
    table = rules(engine)
    reasons = [*table.refused.values(), *table.launch.refused.values()]
    reasons += [row.reason for row in table.ignored]
    assert [reason for reason in reasons if not reason.endswith(".") or reason != reason.strip()] == []


def test_each_ignored_row_lists_an_option_that_the_program_accepts():
    for row in rules("kohya").ignored:
        for pattern in row.programs:
            accepted = {
                name for script in SCRIPTS for name in options("kohya", script).options if _matches(script, pattern)
            }
            assert accepted & set(row.options), (pattern, row)


def _matches(script: str, pattern: str) -> bool:
    return any(option_rules.ignored_rows(OptionRules(ignored=(Ignored((), (pattern,), ""),)), script))


@pytest.mark.parametrize("script", SCRIPTS)
def test_ignored_options_are_those_that_the_source_code_does_not_read(script):
    installed = environments.installed("kohya")
    if installed is None or installed.source is None:
        pytest.skip("kohya is not installed, so its sources cannot be read")
    known = options("kohya", script).options
    unread = unread_options.unread(installed.source, script, known)
    rows = list(option_rules.ignored_rows(rules("kohya"), script))
    listed = {name: bool(row.source) for row in rows for name in row.options if name in known}
    missing = {name for name in unread - listed.keys() if not option_rules.refusal(rules("kohya"), name)}
    assert not missing, "the script accepts these but does not read them: options.toml must list them as ignored"
    read = {name for name, has_source in listed.items() if not has_source} - unread
    assert not read, "options.toml lists these as ignored, but the script reads them"


@pytest.mark.parametrize(("engine", "name"), RECORDS)
def test_the_record_matches_the_installed_engine(engine, name):
    if environments.installed(engine) is None:
        pytest.skip(f"{engine} is not installed")
    dumped = environments.record_options(engine) / f"{name}.json"
    if not dumped.is_file():
        pytest.skip(f"the installed {engine} does not list these options")
    own, shipped = engine_options.load(dumped), options(engine, name)
    if own.version != shipped.version:
        pytest.skip(f"the installed {engine} is {own.version}, the record of {shipped.version}")
    assert own == shipped


SOURCES = {
    "base.py": """
import library.tools as tools
class Trainer:
    def train(self, args):
        self.load(args); tools.check(args); print(args.steps)
        metadata = {"ss_note": args.note, "kept": args.kept}
    def load(self, args):
        return args.model
    def asked(self, args):
        return args.asked
if __name__ == "__main__":
    Trainer().other(args.never)
""",
    "script.py": """
from base import Trainer
class Mine(Trainer):
    def load(self, args):
        return getattr(args, "mine")
    def asked(self, args):
        return super().asked(args)
if __name__ == "__main__":
    trainer = Mine(); trainer.train(args); trainer.asked(args)
""",
    "library/tools.py": """
from . import deep
def check(args):
    args.written = 1
    logger.info(args.logged)
    return deep.look(args)
def nobody(args):
    return args.lost
""",
    "library/deep.py": """
def look(args):
    for name in ["listed"]:
        getattr(args, name)
""",
}


def test_reads_are_found_through_modules_overrides_and_super(tmp_path):
    (tmp_path / "library").mkdir()
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
    known = ["steps", "note", "kept", "model", "asked", "never", "mine", "written", "logged", "lost", "listed"]
    found = unread_options.unread(tmp_path, "script", known)
    assert found == {"note", "model", "never", "written", "logged", "lost"}


def problems(engine: str, name: str, settings, family: str = ""):
    launcher = options(engine, "accelerate_launch")
    return list(
        engine_options.native_problems(engine, settings, rules(engine), options(engine, name), launcher, family)
    )


@pytest.mark.parametrize(
    ("program", "name", "value", "message"),
    [
        ("train_network", "output_dir", "/elsewhere", "Easel determines it, and no setting changes it"),
        ("train_network", "max_train_steps", 10, "follows from schedule.steps: change that one"),
        ("train_network", "lr_scheduler_type", "os.system", "does not name code to import"),
        ("train_network", "huggingface_token", "x", "secrets do not belong"),
        ("train_network", "fused_backward_pass", True, "has no effect here"),
        ("flux_train", "scale_v_pred_loss_like_noise_pred", True, "has no effect here"),
        ("train_network", "scale_weight_norm", 1.0, "Did you mean scale_weight_norms?"),
        ("train_network", "guidance_scale", 1.0, "has no option"),
        ("train_network", "scale_weight_norms", "1", "must be a number"),
        ("train_network", "network_weights", "/models/other.pt", "must be a .safetensors file"),
        ("train_network", "base_weights", ["/models/a.safetensors", "/models/b.ckpt"], "must be a .safetensors file"),
        ("train_network", "launch", "many", "must be a table"),
        ("train_network", "launch", {"module": True}, "does not name code to run"),
        ("train_network", "launch", {"num_proceses": 2}, "Did you mean num_processes?"),
        ("train_network", "launch", {"num_processes": "2"}, "must be a whole number"),
        ("train_network", "launch", {"fp8_format": "E4M3"}, "cannot use fp8"),
    ],
)
def test_a_native_setting_that_is_not_accepted_has_a_reason(program, name, value, message):
    (problem,) = problems("kohya", program, {name: value})
    assert problem.severity == "error"
    assert problem.path.startswith(f"native.kohya.{name}")
    assert message in problem.message


def test_valid_native_settings_are_accepted():
    assert not problems("kohya", "sdxl_train", {"block_lr": "1e-4", "scale_v_pred_loss_like_noise_pred": True})
    assert not problems("kohya", "train_network", {"network_weights": "/models/other.safetensors"})
    assert not problems("kohya", "train_network", {"launch": {"num_processes": 2, "multi_gpu": True}})


def test_options_of_other_model_families_are_not_accepted():
    assert not problems("simpletuner", "4.10.1", {"flux_lora_target": "all"}, "flux")
    (problem,) = problems("simpletuner", "4.10.1", {"flux_lora_target": "all"}, "sdxl")
    assert "it is for flux" in problem.message
