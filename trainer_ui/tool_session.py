"""What the user has chosen in a notebook of tools, and what the chosen tool would make of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_ui.boundary import attempt
from trainer_ui.job_session import JobSession
from trainer_ui.shelf import Shelf
from trainer_ui.views import Views

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.tools.outlook import Outlook
    from trainer_ui.tool_fields import Card

Values = Mapping[str, Any]
COMMANDS = {
    "easel convert --check": "Check in Model_Converter",
    "easel convert --dtype": "Convert in Model_Converter",
    "easel convert": "Convert in Model_Converter",
    "easel lora bake": "“Bake LoRAs” in Checkpoint_Merger",
    "easel lora merge": "“Merge” in Lora_Utilities",
}
"""What a notebook says in place of commands."""


class Module(Protocol):
    """What a module of `trainer_core.tools` has for a notebook."""

    Settings: Callable[..., Any]

    def outlook(self, settings: Any, /) -> Outlook:
        """What the tool would make; an error says why it cannot."""
        ...

    def check(self, settings: Any, /) -> str | None:
        """For a tool that makes no file: a doubt about the file that it would look into; an error says why it cannot."""
        ...

    def start(self, settings: Any, /) -> Job:
        """The job, started."""
        ...


@dataclass(frozen=True, kw_only=True)
class Utility:
    """A tool as a notebook shows it: one place with cards of fields.

    `module` is the module of the tool; `made` turns the values of the fields into its settings.
    """

    id: str
    title: str
    verb: str
    """The words on the button that starts it."""
    about: str
    """What it does, in a sentence."""
    module: str
    cards: tuple[Card, ...]
    made: Callable[[Module, Values], Any]
    kinds: tuple[str, ...]
    """The kinds of its jobs."""
    guide: tuple[str, str] = ("", "")
    makes: bool = True
    """Whether it makes a file; otherwise it only looks into one, and there is no outlook."""
    takes: str = ""
    """The field that can take what another tool of the notebook has made; "" for none."""

    def worded(self, sentence: str) -> str:
        """A sentence with the titles of fields and places in place of the options and commands of the command line."""
        for command, place in COMMANDS.items():
            sentence = re.sub(rf"`?\b{command}\b`?(?! --)", place, sentence)
        for card in self.cards:
            for each in card.fields:
                sentence = sentence.replace(each.option, f"“{each.title}”") if each.option else sentence
        return sentence


@dataclass
class Desk:
    """The values of one tool, and what they lead to."""

    values: dict[str, Any] = field(default_factory=dict)
    outlook: Outlook | None = None
    error: EaselError | None = None
    """Why nothing can be made."""
    asked: bool = False
    """Whether the user has chosen anything yet: nothing is reproached before."""
    doubt: str = ""
    """Why the user may not want what can be made."""
    is_looking: bool = False
    wrong: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The entries that their fields cannot take, as (title, sentence), by the name of the field, of a row and its number, or block."""


class ToolSession(Views):
    """The tools of a notebook and their one job. Headers are read in a thread, because a drive may be slow."""

    def __init__(self, utilities: tuple[Utility, ...]) -> None:
        super().__init__()
        self.jobs: JobSession[Any] = JobSession(self)
        self.utilities = {one.id: one for one in utilities}
        self.desks = {one.id: Desk(_defaults(one)) for one in utilities}
        self._was_live = False
        self.add_view(self._follow)
        self.described: dict[str, tuple[str, str]] = {}
        """What each file that was named is, as a sentence and its tone, by its path."""
        self._stamps: dict[str, object] = {}
        """The state of each of these files when it was described."""
        self._again: set[str] = set()
        self.shelf = Shelf(self, lambda _: None)
        self.moving: Callable[[str], object] = lambda _: None
        """Shows the place of a tool."""

    def change(self, utility: str, name: str, value: Any) -> None:
        """Sets a value, and looks what it leads to."""
        desk = self.desks[utility]
        if desk.values.get(name) == value:
            return
        desk.values[name] = value
        desk.asked = True
        desk.wrong.pop(name, None)
        self.look(utility)

    def replace(self, utility: str, values: Values) -> None:
        """Sets all values of a tool, and forgets wrong entries."""
        desk = self.desks[utility]
        desk.values, desk.wrong = dict(values), {}
        desk.asked = any(path for card in self.utilities[utility].cards for path in card.paths(values))
        desk.outlook, desk.error, desk.doubt = None, None, ""
        self.look(utility)

    def refuse(self, utility: str, key: str, title: str, sentence: str) -> None:
        """Keeps that an entry cannot be taken: nothing starts until it is corrected."""
        self.desks[utility].wrong[key] = (title, sentence)
        self.desks[utility].asked = True

    def accept(self, utility: str, key: str) -> None:
        """Forgets a wrong entry that was corrected."""
        self.desks[utility].wrong.pop(key, None)

    def refusal(self, utility: str) -> str:
        """A sentence about the wrong entries that are shown; "" if there are none."""
        desk = self.desks[utility]
        shown = {each.name for card in self.utilities[utility].cards for each in card.fields if each.when(desk.values)}
        wrong = [each for key, each in desk.wrong.items() if key.partition("/")[0] in shown]
        return " ".join(f"“{title}”: {sentence}" for title, sentence in wrong)

    def _follow(self) -> None:
        """Looks again when a job has ended: what it has made is there now."""
        is_live = self.jobs.is_live
        if self._was_live and not is_live:
            for name, desk in self.desks.items():
                if desk.asked:
                    self.look(name)
        self._was_live = is_live

    def hand_over(self, path: str, utility: str) -> None:
        """Makes a file the input of a tool, and shows that tool."""
        found, values = self.utilities[utility], self.desks[utility].values
        value = values[found.takes]
        if isinstance(value, tuple):
            self.change(utility, found.takes, ({**value[0], "path": path}, *value[1:]))
        else:
            self.change(utility, found.takes, path)
        self.moving(utility)

    def look(self, utility: str) -> None:
        """Asks the tool in a thread what it would make."""
        desk = self.desks[utility]
        if desk.is_looking:
            self._again.add(utility)
            return
        desk.is_looking = True
        threading.Thread(target=self._look, args=(utility,), name="easel-outlook", daemon=True).start()

    def _look(self, utility: str) -> None:
        found = self.utilities[utility]
        while True:
            with self.lock:
                self._again.discard(utility)
                values = dict(self.desks[utility].values)
            self._describe(found, values)
            outlook, doubt, error = _asked(found, values)
            with self.lock:
                if utility in self._again:
                    continue
                desk = self.desks[utility]
                desk.outlook, desk.doubt, desk.error, desk.is_looking = outlook, doubt, error, False
                break
        self.show_unasked()

    def _describe(self, utility: Utility, values: Values) -> None:
        """Says of each file that was named what it is."""
        for card in utility.cards:
            for path in card.paths(values):
                stamp = _stamp(path)
                if path not in self.described or self._stamps.get(path) != stamp:
                    words, tone = _description(path)
                    self._stamps[path], self.described[path] = stamp, (utility.worded(words), tone)

    def start(self, utility: str) -> None:
        """Starts the tool with the values of its fields."""
        found = self.utilities[utility]
        module = _module(found)
        values = dict(self.desks[utility].values)

        def begin() -> Job:
            return module.start(found.made(module, values))

        self.desks[utility].asked = True
        if refusal := self.refusal(utility):
            self.note(f"This cannot start yet. {refusal}")
            return
        # What was known of the files is not true any more, if it could not be started.
        self.jobs.start(begin, failed=lambda: self.look(utility))


def _defaults(utility: Utility) -> dict[str, Any]:
    return {field.name: field.default for card in utility.cards for field in card.fields}


def _module(utility: Utility) -> Module:
    return import_module(utility.module)  # type: ignore[return-value]  # the tests of each notebook ask every tool


def _asked(utility: Utility, values: Values) -> tuple[Outlook | None, str, EaselError | None]:
    """What a tool would make, a doubt about it, and why it cannot be started."""
    module = _module(utility)
    answers: list[Outlook | None] = []
    doubts: list[str] = []
    errors: list[EaselError] = []
    said: list[str] = []

    def ask() -> None:
        try:
            settings = utility.made(module, values)
            if utility.makes:
                found = module.outlook(settings)
                answers.append(found)
                doubts.append(found.doubt)
            else:
                doubts.append(module.check(settings) or "")
                answers.append(None)
        except EaselError as error:
            errors.append(error)

    attempt(ask, said.append)
    if answers:
        return answers[0], doubts[0], None
    return None, "", errors[0] if errors else EaselError(said[0] if said else "Nothing can be said about this yet.")


def _stamp(path: str) -> object:
    """What changes when a file is changed or removed."""
    try:
        found = places.typed(path).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _description(path: str) -> tuple[str, str]:
    """What a file is, and the tone of that sentence."""
    from trainer_core.models import detection, header
    from trainer_ui.panels.model import sentence

    file = places.typed(path)
    try:
        return sentence(detection.detect(header.read(file)), file.name), ""
    except EaselError as error:
        return str(error), "danger"
