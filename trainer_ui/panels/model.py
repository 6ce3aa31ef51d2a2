"""The base model: a file on this machine, a path, or a link; what it is, and how Easel knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer_core.engines import registry, trainable
from trainer_core.errors import DownloadError
from trainer_core.models import starters, tokens
from trainer_core.text import printable
from trainer_ui import browsing
from trainer_ui.answers import mark
from trainer_ui.browse import Browse
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, hint, show
from trainer_ui.panels.card import Step, fold, row
from trainer_ui.panels.companions import CompanionsPanel
from trainer_ui.panels.engine import EnginePanel
from trainer_ui.panels.fetch import Fetch, gigabytes
from trainer_ui.panels.starters import StarterPanel
from trainer_ui.shelf import Shelf
from trainer_ui.widgets import Button, Dropdown, Text, Widget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainer_core.engines.trainable import Choice
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Library
    from trainer_core.models.starters import Starter
    from trainer_ui.panels.settings import Settings
    from trainer_ui.session import Session

KNOWN_HELP = "The models in Easel's own folder, and in the folders of ComfyUI and Forge."
PATH_HELP = "A file or folder, org/name on Hugging Face, a Civitai page, or another address. Nothing is downloaded before you say so."
ELSEWHERE = "Another model: enter its path or a link"
PREDICTIONS = {"epsilon": "epsilon prediction", "v_prediction": "v-prediction", "flow": "flow matching"}


class ModelPanel:
    """The models on this machine, a field for a path or a link, what the chosen model is, and its companion files."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self.session = session
        self.shelf = Shelf(session, session.bench.use_library)
        self.known = Dropdown(description="Models on this machine", options=[(ELSEWHERE, "")])
        self.mine = helped(self.known, KNOWN_HELP)
        self.path = Text(
            description="Path or link",
            placeholder="/path/to/model.safetensors, or a link",
            continuous_update=False,
        )
        self.browse = Browse(
            session, "Base model", self._take, self._shown_path, wants="either", extensions=browsing.MODELS
        )
        self.seen = Paragraph("", "muted", "small")
        self.fetch = Fetch(session, self._arrived, sentence)
        self.says, self.guess = Paragraph(), Paragraph("", "muted", "small")
        self.reasons = Paragraph("", "small", "lines")
        self.companions = CompanionsPanel(session, self.shelf)
        self.fold = fold(session, "How Easel knows", lambda: [self.reasons])
        self.again = Button(description="Search again", classes=("easel-quiet",))
        self.again.on_click(session.handler(lambda _: self.shelf.look()))
        self.known.observe(session.handler(self.choose), "value")
        self.path.observe(session.handler(self.enter), "value")
        self.engine = EnginePanel(session)
        self.starters = StarterPanel(session, self.get_starter)
        self.step = Step(
            session,
            "Model",
            lambda: self._content(settings),
            question="What do you want to build on?",
            number="1",
            is_open=True,
        )
        self.widget = self.step.widget
        self._library: Library | None = None
        self._offered: tuple[Choice, ...] = ()
        self._chosen_since = False
        """Whether another model was chosen during a download: then that choice stays when the download is finished."""
        session.forgetting.append(self._forget)

    def _content(self, settings: Settings) -> list[Widget]:
        return [
            self.mine,
            row(self.seen, self.again),
            helped(self.path, PATH_HELP),
            self.browse.widget,
            self.starters.widget,
            self.fetch.widget,
            self.says,
            self.guess,
            self.companions.widget,
            self.fold,
            self.engine.widget,
            settings.groups["model"],
        ]

    def choose(self, path: str) -> None:
        """Sets the model that was picked; "" leaves the path as it is."""
        if path:
            self._take(path)

    def enter(self, text: str) -> None:
        """Sets a path that was typed, or inspects a link, which is the model until its file replaces it: nothing starts with a link."""
        from trainer_core.models import downloads

        try:
            link = downloads.parse(text)
        except DownloadError:
            link = None  # The text stays in the field, and the Problem of the model says what is wrong with it.
        if link is None:
            self._take(text.strip())
        else:
            self.fetch.look(link)
            self._chosen_since = False
            self.session.change({"model.path": link.shown})

    def get_starter(self, starter: Starter) -> None:
        """Downloads a model to begin with, which is the model once its file is there; asks for a token first if it needs one."""
        self._chosen_since = False
        self.session.change({"model.path": starter.link.shown})
        if starter.gated and tokens.find(starters.SITE) is None:
            self.fetch.ask_for_token(starter.link, starter.how_to_get_access)
        else:
            self.fetch.fetch(starter.link)

    def _forget(self) -> None:
        """Drops what was said of a link; a download goes on, and its file does not become the model."""
        self.fetch.forget()
        self._chosen_since = self.fetch.is_busy

    def _take(self, path: str) -> None:
        self._forget()
        self.session.change({"model.path": path})

    def close(self) -> None:
        """Ends the scan and the downloads."""
        self.shelf.close()
        for one in (self.fetch, self.companions.fetch):
            one.close()

    def _arrived(self, path: Path) -> None:
        with self.session.lock:
            if self._chosen_since:
                self.session.note(
                    printable(f"{path.name} is downloaded. You can choose it under “Models on this machine”.", 300)
                )
            else:
                self.session.change({"model.path": str(path)})
            self._chosen_since = False
        self.shelf.look()

    def show(self) -> None:
        """Shows the models on this machine, the chosen one, and what it was recognised as."""
        path = self.session.values["model.path"]
        self._offer()
        self._show_path(path)
        self.known.value = path if path in {value for _, value in self.known.options} else ""
        facts = self.session.bench.state.facts
        if facts.detection is not None:
            kind = "ok" if facts.detection.family else "danger"
            self.says.show_text(sentence(facts.detection, Path(path).name), kind)
            self.reasons.show_text("\n".join(reasons(facts.detection)))
        else:
            self.says.show_text(facts.detection_error if path and self.fetch.link is None else "", "danger")
            self.reasons.show_text("")
        guess = facts.detection.guess if facts.detection else None
        self.guess.show_text(
            f"Perhaps {guess.title}: {guess.evidence}. This is a guess, because no header contains it." if guess else ""
        )
        show(self.fold, facts.detection is not None)
        self.companions.show()
        self.fetch.show()
        self.starters.show(self._needs_model(path))
        self.engine.show()
        self.step.show(mark(self.session, "model", path), _summary(facts.detection, path))

    def _shown_path(self) -> str:
        return self.session.values["model.path"]

    def _needs_model(self, path: str) -> bool:
        """Whether there is no model yet, and none that is inspected or downloaded."""
        is_link = self.fetch.link is not None and path == self.fetch.link.shown
        return not path or (is_link and self.fetch.state in ("asking", "stopped", "failed"))

    def _show_path(self, path: str) -> None:
        """Shows the chosen path in the field, or the link that is being inspected, without a token that is in it."""
        is_link = self.fetch.state != "idle" and not self._chosen_since
        shown = self.fetch.link.shown if self.fetch.link and is_link else path
        if self.path.value != shown:
            self.path.value = shown

    def _offer(self) -> None:
        """Lists the models of the library, and shows whether a scan is in progress."""
        found = self.shelf.library
        self.again.disabled = self.shelf.is_looking
        if found is None:
            self.seen.show_text(self.shelf.said or "Searching for models…")
            return
        if found is not self._library:
            self._library = found
            self._offered = choices = trainable.choices(found)
            self.starters.fold(any(choice.engines for choice in choices))
            show(self.mine, bool(choices))
            named = [choice for choice in choices if choice.entry.role != "unknown"]
            self.known.options = [
                (ELSEWHERE, ""),
                *_distinct((label(choice), str(choice.entry.path)) for choice in named),
            ]
        self.seen.show_text(self.shelf.said or _count(self._offered, len(found.roots)))
        hint(self.known, "\n".join(f"{root.path} ({root.because})" for root in found.roots))


def label(choice: Choice) -> str:
    """A model in the list: its name, what it is, and its size."""
    entry, found = choice.entry, choice.entry.found
    what = [family_title(found.family), found.variant if found.apart else ""] if found else []
    what += ["v-prediction"] if found and found.prediction == "v_prediction" else []
    what += [gigabytes(entry.size_bytes), "" if choice.engines else "cannot be trained"]
    return printable(f"{entry.name}: {', '.join(filter(None, what))}", 140)


def _count(choices: Iterable[Choice], folders: int) -> str:
    choices = list(choices)
    able = sum(bool(choice.engines) for choice in choices)
    odd = sum(choice.entry.role == "unknown" for choice in choices)
    more = f"; {odd} files there are not recognised" if odd else ""
    places_ = "1 folder" if folders == 1 else f"{folders} folders"
    return f"{able} that can be trained, in {places_}{more}." if choices else "No models found yet."


def _distinct(options: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Options with distinct labels: a Dropdown finds its value by its label."""
    seen: dict[str, int] = {}
    found = []
    for label, value in options:
        seen[label] = seen.get(label, 0) + 1
        found.append((label if seen[label] == 1 else f"{label} ({seen[label]})", value))
    return found


def sentence(found: Detection, name: str) -> str:
    """A sentence that says what a model is."""
    role = "diffusers folder" if found.format == "diffusers" else found.role.replace("_", " ").replace("lora", "LoRA")
    if found.role == "unknown":
        return f"{name} is not recognised: {found.evidence[0] if found.evidence else 'it fits no known family'}."
    return f"{name} is a {role}: {_kind(found)}. {found.apart}".rstrip()


def _kind(found: Detection) -> str:
    made_for = f"made for {family_title(found.base_family)}" if found.base_family else ""
    prediction = PREDICTIONS.get(found.prediction or "", "")
    # The sentence below says what the name suggests, where no header can tell the variants apart.
    is_guessed = found.guess is not None and found.guess.variant not in ("", found.variant)
    kind = "" if found.variant == "base" or is_guessed else found.variant.replace("_", " ")
    parts = [family_title(found.family) if found.family else "", kind, made_for, prediction, found.dtype]
    return ", ".join(part for part in parts if part)


def _summary(found: Detection | None, path: str) -> str:
    """The chosen model in one line."""
    name = Path(path).name
    return f"{name}: {_kind(found)}" if found and found.family else name


def reasons(found: Detection) -> list[str]:
    """Why a model was recognised as what it is, and why not as another one that can be trained."""
    trained = {family for engine in registry.available() for family in engine.manifest.families}
    near = {family: reason for family, reason in found.rejected.items() if family in trained}
    refused = [f"Not {family_title(family)}: {reason}." for family, reason in near.items()]
    rest = len(found.rejected) - len(near)
    more = [f"Not one of {rest} other families: easel detect --json shows the reasons."] if rest else []
    return [f"{_capital(reason)}." for reason in found.evidence] + refused + more


def _capital(reason: str) -> str:
    """A reason with a capital letter, unless it begins with the name of a tensor."""
    return reason[:1].upper() + reason[1:] if reason.partition(" ")[0].isalpha() else reason


def family_title(family: str | None) -> str:
    """The title of a family."""
    from trainer_core.models.families import load_families

    known = load_families().get(family or "")
    return known.title if known else family or "an unknown family"
