"""What the user has chosen in a notebook of tools, and what the chosen tool would make of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

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


class Module(Protocol):
    """What a module of `trainer_core.tools` has for a notebook."""

    Settings: Callable[..., Any]

    def outlook(self, settings: Any, /) -> Outlook:
        """What the tool would make; an error says why it cannot."""
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
    reads: Callable[[Module, Values], Any] | None = None
    """What else is read of its files for a panel of its place, in the thread that asks what would be made."""
    takes: str = ""
    """The field that can take what another tool of the notebook has made; "" for none."""

    def worded(self, sentence: str) -> str:
        """A sentence with the titles of its fields in place of the options of the command line."""
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
    read: Any = None
    """What `Utility.reads` has read; None if the files cannot be read."""
    asked: bool = False
    """Whether the user has chosen anything yet: nothing is reproached before."""
    is_looking: bool = False


class ToolSession(Views):
    """The tools of a notebook and their one job. Headers are read in a thread, because a drive may be slow."""

    def __init__(self, utilities: tuple[Utility, ...]) -> None:
        super().__init__()
        self.jobs: JobSession[Any] = JobSession(self)
        self.utilities = {one.id: one for one in utilities}
        self.desks = {one.id: Desk(_defaults(one)) for one in utilities}
        self.described: dict[str, tuple[str, str]] = {}
        """What each file that was named is, as a sentence and its tone, by its path."""
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
        self.look(utility)

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
            outlook, error = _asked(found, values)
            read = _read(found, values)
            with self.lock:
                if utility in self._again:
                    continue
                desk = self.desks[utility]
                desk.outlook, desk.error, desk.read, desk.is_looking = outlook, error, read, False
                break
        self.show_unasked()

    def _describe(self, utility: Utility, values: Values) -> None:
        """Says of each file that was named what it is."""
        for card in utility.cards:
            for path in card.paths(values):
                if path not in self.described:
                    self.described[path] = _description(path)

    def start(self, utility: str) -> None:
        """Starts the tool with the values of its fields."""
        found = self.utilities[utility]
        module = _module(found)
        values = dict(self.desks[utility].values)

        def begin() -> Job:
            return module.start(found.made(module, values))

        self.desks[utility].asked = True
        self.jobs.start(begin)


def _defaults(utility: Utility) -> dict[str, Any]:
    return {field.name: field.default for card in utility.cards for field in card.fields}


def _module(utility: Utility) -> Module:
    return import_module(utility.module)  # type: ignore[return-value]  # the tests of each notebook ask every tool


def _asked(utility: Utility, values: Values) -> tuple[Outlook | None, EaselError | None]:
    module = _module(utility)
    if not utility.makes:
        return None, None
    answers: list[Outlook] = []
    errors: list[EaselError] = []
    said: list[str] = []

    def ask() -> None:
        try:
            answers.append(module.outlook(utility.made(module, values)))
        except EaselError as error:
            errors.append(error)

    attempt(ask, said.append)
    if answers:
        return answers[0], None
    return None, errors[0] if errors else EaselError(said[0] if said else "Nothing can be said about this yet.")


def _read(utility: Utility, values: Values) -> Any:
    """What the tool reads beside the outlook; None if it cannot, which the outlook explains."""
    reads, found = utility.reads, list[Any]()
    if reads is not None:
        attempt(lambda: found.append(reads(_module(utility), values)), lambda _: None)
    return found[0] if found else None


def _description(path: str) -> tuple[str, str]:
    """What a file is, and the tone of that sentence."""
    from trainer_core import places
    from trainer_core.models import detection, header
    from trainer_ui.panels.model import sentence

    file = places.typed(path)
    try:
        return sentence(detection.detect(header.read(file)), file.name), ""
    except EaselError as error:
        return str(error), "danger"
