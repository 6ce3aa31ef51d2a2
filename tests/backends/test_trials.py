"""Trials of optimizers and parts in the environments of the installed engines, on the device of this machine."""

import dataclasses
import json
import subprocess

import pytest

from backends.kohya import optimizer
from tests.support.engine_plans import plan
from trainer_core import catalog
from trainer_core.engines import manifest as engine_table
from trainer_core.engines import registry
from trainer_core.install import environments, trials

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1800)]

OTHER_STATE_BYTES = {
    ("simpletuner", "Lion8bit"): 1.25,  # that of SDNQ, with a scale and an offset for each 32 values
    ("simpletuner", "Prodigy"): 8.36,  # prodigyplus, which keeps every eleventh value of its distance estimate
    ("simpletuner", "AdamWScheduleFree"): 12.0,  # SimpleTuner's own class, with Kahan summation
}
"""Bytes of state per parameter, if an engine uses another implementation than the catalog."""

SETTINGS = """
import json, inspect, runpy, sys
import torch
script, path, optimizers = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
build = runpy.run_path(script)["builder"](path)
found = {}
for name, (spelled, arguments) in optimizers.items():
    made = build(spelled, arguments, [torch.nn.Parameter(torch.zeros(8, 8))], 1.0)
    signature = inspect.signature(type(made).__init__).parameters.items()
    defaults = {key: value.default for key, value in signature if value.default is not value.empty}
    found[name] = {key: value for key, value in {**defaults, **made.param_groups[0]}.items() if key != "params"}
print(json.dumps(found, default=str))
"""


@pytest.fixture
def engine(request, tmp_path, monkeypatch):
    """An installed engine in a separate home folder, so that the trials of the real one do not change."""
    return in_separate_home(request.param, tmp_path, monkeypatch)


@pytest.fixture
def kohya(tmp_path, monkeypatch):
    return in_separate_home("kohya", tmp_path, monkeypatch)


def in_separate_home(name, folder, monkeypatch):
    found = environments.installed(name)
    if found is None:
        pytest.skip(f"{name} is not installed here (python installer.py backend install {name})")
    home = folder / "engines" / name
    home.mkdir(parents=True)
    for inside in ("venv", "source"):
        (home / inside).symlink_to(found.home / inside)
    (home / "installed.json").write_bytes((found.home / "installed.json").read_bytes())
    monkeypatch.setenv("EASEL_HOME", str(folder))
    return environments.installed(name)


@pytest.mark.parametrize("engine", ["kohya", "simpletuner"], indirect=True)
def test_every_optimizer_is_tried_and_its_state_has_the_size_in_the_catalog(engine):
    spelled, known = registry.get(engine.id).manifest.optimizers, catalog.optimizers()
    found = environments.trial(engine.id)
    records = found["optimizers"]
    assert set(records) == set(spelled)
    assert records["AdamW"]["ok"]
    assert {name for name, record in records.items() if not record["ok"] and not record["reason"]} == set()
    wrong = {
        name: record["state_bytes_per_parameter"]
        for name, record in records.items()
        if record["ok"]
        and record["state_bytes_per_parameter"]
        != pytest.approx(OTHER_STATE_BYTES.get((engine.id, name), known[name].state_bytes), rel=0.1)
    }
    assert not wrong, "the measured bytes of state differ from the catalog"
    assert found["parts"]["attention"]["ok"]
    assert trials.load(engine, found["device"], spelled)["optimizers"] == records


def test_the_defaults_in_the_catalog_match_the_classes(kohya):
    table = engine_table.read("kohya")
    classes = {name: (spelled, table.optimizer_arguments.get(name, [])) for name, spelled in table.optimizers.items()}
    command = [kohya.python, "-c", SETTINGS, table.folder / "try_optimizers.py", kohya.source, json.dumps(classes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=kohya.home)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: settings(found[name], entry) for name, entry in entries(found)} == {
        name: dict(entry.settings) for name, entry in entries(found)
    }


def entries(found):
    return [(name, catalog.optimizers()[name]) for name in found]


def settings(own, entry):
    """The settings of an entry, with the default values of its class."""
    spelled = {"epsilon": "eps", "bias_correction": "use_bias_correction"}
    betas = {"beta1": 0, "beta2": 1, "beta3": 2}
    # bitsandbytes stores SGD's momentum as the first beta.
    momentum = own.get("betas", [None])[0] if "betas" in own else own.get("momentum")
    read = {}
    for name in entry.settings:
        if name in betas:
            read[name] = own["betas"][betas[name]]
        else:
            read[name] = momentum if name == "momentum" else own[spelled.get(name, name)]
    return read


def test_trials_use_the_arguments_that_a_plan_renders():
    manifest, table = registry.get("kohya").manifest, engine_table.read("kohya")
    for name in manifest.optimizers:
        rendered = optimizer.options(plan("sdxl", optimizer__name=name), manifest)["optimizer_args"]
        assert rendered == [*table.optimizer_arguments.get(name, ()), *trials.ALWAYS]


SCRIPT = """
import ctypes, importlib, time
def builder(path):
    torch = importlib.import_module("torch")
    class Still(torch.optim.SGD):
        def step(self): pass
    class Blows(torch.optim.SGD):
        def step(self): self.param_groups[0]["params"][0].data.fill_(float("nan"))
    def build(spelled, arguments, parameters, learning_rate):
        print("unexpected output of a library")
        if spelled == "crash":
            ctypes.string_at(0)
        if spelled == "hang":
            time.sleep(1000)
        if spelled == "missing":
            importlib.import_module("no_such_package")
        if spelled == "ends":
            raise SystemExit("exit in a library")
        return {"still": Still, "blows": Blows}.get(spelled, torch.optim.AdamW)(parameters, lr=learning_rate)
    return build
"""
ENDINGS = {
    "first": "",
    "crash": "it crashed (SIGSEGV).",
    "hang": "it did not finish in time.",
    "missing": "no_such_package is not installed.",
    "ends": "it ended the process (exit in a library).",
    "still": "it stopped with ArithmeticError: 8 steps did not change the weight.",
    "blows": "it stopped with ArithmeticError: step 1 produced values that are not finite.",
    "last": "",
}


def tried(engine, script, folder, names):
    (folder / "try_optimizers.py").write_text(script)
    table = dataclasses.replace(engine_table.read(engine.id), folder=folder, optimizers={name: name for name in names})
    lines = []
    return trials.run(engine, table, lines.append), lines


def test_an_optimizer_that_crashes_or_hangs_does_not_affect_the_others(kohya, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "ITEM_S", 60)
    found, lines = tried(kohya, SCRIPT, tmp_path, ENDINGS)
    assert {name: record["reason"] for name, record in found["optimizers"].items()} == ENDINGS
    assert found["optimizers"]["last"]["state_bytes_per_parameter"] == pytest.approx(8, rel=0.01)
    assert "2 of 8 optimizers work here." in lines


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit('nothing works')", "it ended the process (nothing works)."),
        ("import no_such_engine", "no_such_engine is not installed."),
    ],
)
def test_an_engine_that_cannot_be_loaded_is_the_reason_for_every_optimizer(kohya, tmp_path, script, reason):
    found, _ = tried(kohya, script, tmp_path, ["AdamW", "Lion"])
    assert {record["reason"] for record in found["optimizers"].values()} == {reason}


def test_an_engine_without_a_script_for_trials_is_not_tried(kohya, tmp_path):
    (kohya.home / "trials.json").write_text("{}")
    table = dataclasses.replace(engine_table.read("kohya"), folder=tmp_path)
    assert trials.run(kohya, table, print) == {}
    assert not (kohya.home / "trials.json").exists()
