"""What the user has set in an app, kept until it is used: <home>/forms/<app>.json.

A form is not a job: it has only the choices of the user, and no values that follow from them. The file is written whole, so of
two programs that write at the same time the last one wins. Tokens are left out.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.catalog import presets
from trainer_core.draft.layers import Source, is_native
from trainer_core.errors import EaselError, PlanError
from trainer_core.files import open_own, set_aside, write_whole
from trainer_core.plan import fields
from trainer_core.plan.prompts import texts
from trainer_core.prepare.workbench import NO_POLICY, PLAIN
from trainer_core.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainer_core.prepare.workbench import Workbench

VERSION = 1
LARGEST_FILE_BYTES = 4 << 20
AUTO = "auto"
"""In the place of the id of a policy: Easel chooses, although the profile has one."""
METHOD, MODEL = "model.method", "model.path"


@dataclass(frozen=True)
class Form:
    """The choices of the user in one app.

    `values` are those of the user by dotted path. `profile` is the id of a profile, or PLAIN; `policy` is "" if Easel chooses.
    `wish` is the use that was chosen before there was a model, `knows_method` whether the user has chosen what to make.
    `begun_with` says with which arguments the app was opened, and `run` is the name of the run that was started with the form.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""
    profile: str = ""
    preset: str = ""
    policy: str = ""
    wish: str = ""
    knows_method: bool = False
    begun_with: str = ""
    run: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the user has chosen nothing; the method alone is set by the app."""
        return not (self.values.keys() - {METHOD} or self.profile or self.preset or self.policy or self.wish)

    def is_same(self, other: Form) -> bool:
        """Whether the choices are the same, whatever was started with them."""
        return replace(self, run="") == replace(other, run="")


@dataclass(frozen=True)
class Kept:
    """A form that was read from its file, the time when it was written, and sentences about what could not be used."""

    form: Form
    saved: dt.datetime
    said: tuple[str, ...] = ()


def form_of(bench: Workbench, without: Collection[str] = (), **more: Any) -> Form:
    """The user's choices in a workbench, apart from the values `without`; `more` are attributes that the workbench does not know."""
    state = bench.state
    values = {path: value for path, value in state.draft.layers.get(Source.USER, {}).items() if path not in without}
    profile = state.profile.id if state.profile else PLAIN if state.plain else ""
    chosen = AUTO if state.chooses_policy else state.policy.id if state.policy else NO_POLICY
    # What follows from the profile is no choice of the user.
    usual = (state.profile.policy if state.profile else "") or AUTO
    return Form(
        values=values,
        engine=state.engine.manifest.id if state.engine else "",
        profile=profile,
        preset=state.preset.id if state.preset else "",
        policy="" if chosen == usual else chosen,
        **more,
    )


def kept_in(app: str, name: str = "") -> Path:
    """The file of an app's form; with a `name`, of another form of the app, such as the one before it."""
    return places.home() / "forms" / f"{app}{f'.{name}' if name else ''}.json"


def keep(path: Path, form: Form) -> tuple[str, ...]:
    """Writes a form, or removes its file if it is empty; returns the settings that were left out because they look like a token.

    Raises:
        OSError: the file cannot be written.
    """
    if form.is_empty:
        path.unlink(missing_ok=True)
        return ()
    values = {name: value for name, value in form.values.items() if name == "native" or not _is_secret(value)}
    left_out = sorted(form.values.keys() - values.keys())
    if "native" in values and is_native(values["native"]):
        values["native"], hidden = _without_secrets(values["native"])
        left_out += hidden
    saved = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    data = {"version": VERSION, "saved": saved, **vars(form), "values": values, "left_out": left_out}
    write_whole(path, json.dumps(data, ensure_ascii=True, indent=1) + "\n", personal=True)
    return tuple(left_out)


def read(path: Path) -> Kept | None:
    """The form in a file; None if there is none. What a setting no longer accepts is left out, with a sentence.

    Raises:
        PlanError: the file is damaged. It was renamed to NAME.damaged, which the message says.
    """
    try:
        with open_own(path) as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlanError(f"Your last settings cannot be read: {error.strerror or error}.", f"See {path}.") from error
    try:
        if len(content) > LARGEST_FILE_BYTES:
            raise ValueError("it is too large")
        return _form(json.loads(content.decode("utf-8")))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> PlanError:
    try:
        kept = set_aside(path)
    except OSError:
        kept = path
    return PlanError(
        f"Your last settings cannot be used: their file is damaged ({printable(reason, 120)}).",
        f"The file was kept as {kept or path}. The form begins empty.",
    )


def _form(data: object) -> Kept:
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"its version is not {VERSION}")
    values, left_out = data["values"], data.get("left_out", [])
    if not isinstance(values, dict) or not isinstance(left_out, list):
        raise TypeError("it has no table of values")
    said = []
    if left_out:
        names = printable(", ".join(map(str, left_out)), 200)
        said.append(f"Not kept, because it looks like a token: {names}.")
    checked: dict[str, Any] = {}
    for path, value in values.items():
        if reason := _refusal(path, value):
            said.append(f"{reason} It was {_shown(value)}.")
        else:
            checked[path] = value if path == "native" else fields.check(path, value)[0]
    words = {
        name: data.get(name, "") for name in ("engine", "profile", "preset", "policy", "wish", "begun_with", "run")
    }
    if not all(isinstance(word, str) for word in words.values()):
        raise TypeError("a name is not text")
    form = Form(values=checked, knows_method=data.get("knows_method") is True, **words)
    return Kept(form, dt.datetime.fromisoformat(data["saved"]).astimezone(), tuple(said))


def _refusal(path: str, value: Any) -> str:
    """Why a kept value cannot be used; "" if it can. A value that its setting refuses is shown as what the user typed."""
    if path == "native":
        return "" if is_native(value) else "The engine's own settings cannot be used."
    if path not in fields.all_fields():
        return f"There is no setting {printable(path, 60)} any more."
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and not math.isfinite(value):
        return f"{fields.all_fields()[path].title} is not a number."
    return "" if not fields.check(path, value)[1] else fields.check(path, value)[1]


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False), 80)


def use(bench: Workbench, form: Form) -> tuple[str, ...]:
    """Sets the choices of a form in a new workbench; returns sentences about what this Easel does not have."""
    from trainer_core import policies, profiles

    said = []

    def chosen(name: str, known: Collection[str], what: str) -> str:
        if name and name not in known:
            said.append(f"The {what} {printable(name, 60)} is no longer there.")
            return ""
        return name

    if bench.state.engine is None:
        bench.use_engine(chosen(form.engine, {one.manifest.id for one in bench.state.engines}, "engine"))
    bench.use_profile(chosen(form.profile, {PLAIN, *profiles.known()}, "profile"))
    # The values of a preset depend on the family, so the model is set first.
    bench.set({path: form.values[path] for path in (MODEL,) if path in form.values})
    bench.use_preset(chosen(form.preset, presets.shipped(), "memory preset"))
    if form.policy:
        policy = chosen(form.policy, {AUTO, NO_POLICY, *policies.shipped()}, "policy")
        bench.use_policy("" if policy == AUTO else policy)
    values = dict(form.values)
    method = values.pop(METHOD, None)
    if method in bench.methods or (method is not None and not bench.methods):
        values[METHOD] = method
    try:
        bench.set(values)
    except EaselError as error:
        said.append(str(error))
    return tuple(said)


def clear(bench: Workbench) -> None:
    """Removes every choice of the user from a workbench, except its method and its engine."""
    mine = [path for path in bench.state.draft.layers.get(Source.USER, {}) if path != METHOD]
    bench.use_profile("")
    bench.use_preset("")
    bench.use_policy("")
    bench.reset(*mine)


def _is_secret(value: Any) -> bool:
    from trainer_core.profiles.reading import holds_token

    return any(map(holds_token, texts(value)))


def _without_secrets(native: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """An engine's own settings without those that look like a token, and the names of these."""
    kept = {
        engine: {name: value for name, value in table.items() if not _is_secret(value)}
        for engine, table in native.items()
    }
    hidden = [
        f"native.{engine}.{name}" for engine, table in native.items() for name in table.keys() - kept[engine].keys()
    ]
    return kept, sorted(hidden)
