"""Has images tagged or captioned by a model, as a job: who does it, what is asked, and what is missing before it can start."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from trainer_core.errors import DatasetError
from trainer_core.jobs.state import FINAL_STATES
from trainer_ui.boundary import attempt
from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.components.cards import Card, Cards
from trainer_ui.dataset_list import ALL
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, show
from trainer_ui.panels.card import fold, row
from trainer_ui.panels.datasets.scope import Scope
from trainer_ui.widgets import Box, Button, Checkbox, Dropdown, Password, Text, Textarea, VBox

if TYPE_CHECKING:
    from trainer_core.captioning import asking, tagging
    from trainer_core.jobs.job import Job
    from trainer_core.problems import Problem
    from trainer_ui.dataset_session import DatasetSession

TAGGER, SERVER, LOCAL = "tagger", "server", "local"
WHO = (
    Card(TAGGER, "A tagger", "Tags with probabilities, on this machine", "tag"),
    Card(SERVER, "A server", "Ollama, LM Studio, vLLM or a cloud, by OpenAI's interface", "server"),
    Card(LOCAL, "A captioner", "Sentences, on this machine; needs a GPU", "speech"),
)
HELP = {
    TAGGER: "For photos, a server or a captioner writes better captions: the tags are those of drawings. It sees each image once. Afterwards thresholds act at once, and nothing is written before you say so.",
    SERVER: "Each image is sent, made smaller, to the server that you name. Answers that are no captions are marked and not written.",
    LOCAL: "A large model is fetched once. Nothing leaves this machine.",
}
GROUPS = {"error": "Before it can start", "warning": "Look at this", "info": "Good to know"}
KINDS = ("tag", "caption", "fetch-captioner")


class MachinePanel:
    """The form, and the button that starts the job. `first` is the choice of images at the beginning."""

    def __init__(self, session: DatasetSession, first: str = ALL) -> None:
        from trainer_core.captioning import captioners, taggers, templates

        self.session = session
        handler = session.handler
        self.problems: tuple[Problem, ...] = ()
        self.is_checking = False
        self.done: tagging.Settings | asking.Settings | None = None
        """What the last job, or the last look at what is kept, was about."""
        again = handler(lambda _: self._changed())
        self.by = TAGGER
        """Who looks at the images."""
        self.models_chosen = {TAGGER: next(iter(taggers.taggers())), LOCAL: next(iter(captioners.captioners()))}
        self.who = Cards("Done by", handler(self._choose_who))
        self.help = Paragraph("", "small", "muted")
        self.scope = Scope(session, first=first)
        self.known = {
            TAGGER: [
                Card(
                    one.id,
                    f"{one.title}, {one.size_gib:.1f} GB",
                    f"{one.purpose} Licence: {one.licence or 'not verified'}.",
                    "",
                )
                for one in taggers.taggers().values()
            ],
            LOCAL: [
                Card(
                    one.id,
                    f"{one.title}, {one.size_gib:.1f} GB",
                    f"{one.purpose} Needs about {one.memory_gib:.0f} GB of GPU memory.",
                    "",
                )
                for one in captioners.captioners().values()
            ],
        }
        """The models of this machine as cards, with what each is for."""
        self.tagger = Cards("Tagger", handler(partial(self._choose_model, TAGGER)))
        self.local = Cards("Captioner", handler(partial(self._choose_model, LOCAL)))
        self.folder = Text(
            description="Folder with its files", placeholder="empty: fetched from Hugging Face", continuous_update=False
        )
        self.address = Text(
            description="Address of the server", placeholder="http://127.0.0.1:11434/v1", continuous_update=False
        )
        self.list_models = Button(description="List its models", classes=("easel-small",))
        self.list_models.on_click(handler(lambda _: self._list()))
        self.model = Text(
            description="Model of the server", placeholder="as the server names it", continuous_update=False
        )
        self.models = Dropdown(description="Its models", options=[("", "")], value="")
        self.models.observe(handler(self._pick), "value")
        self.key = Password(description="Key, if it needs one")
        self.use_key = Button(description="Use this key", classes=("easel-small",))
        self.use_key.on_click(handler(lambda _: self._remember()))
        self.agree = Checkbox(description="", indent=False)
        options = [(one.title, one.id) for one in templates.templates().values()]
        self.template: Any = Dropdown(description="What the captions are for", options=options, value="scene")
        self.question = Textarea(
            description="Another question", placeholder="{tags}, {name} and {trigger} are filled in"
        )
        for one in (self.folder, self.address, self.model, self.agree, self.template, self.question):  # fmt: skip
            one.observe(again, "value")
        self.start = Button(description="Start", button_style="primary")
        self.start.on_click(handler(lambda _: self._start()))
        self.look = Button(description="Use earlier results", classes=("easel-small", "easel-quiet"))
        self.look.on_click(handler(lambda _: self._look()))
        self.said = Paragraph("", "small", role="status")
        self.list = ActionList("What is missing", handler(self._fix))
        self.of_tagger = Box([self.tagger], classes=("easel-model-cards",))
        self.of_local = Box([self.local], classes=("easel-model-cards",))
        self.of_models = helped(
            self.folder, "A folder that has the model already, such as a copy from another machine."
        )
        self.of_server = VBox(
            [
                Box([self.address, self.model], classes=("easel-pair",)),
                row(self.list_models, self.models),
                Box([self.key, self.use_key], classes=("easel-row", "easel-enters")),
                self.agree,
            ]
        )
        asks = fold(session, "Another question", lambda: [self.question])
        self.of_captions = VBox([Box([self.template], classes=("easel-pair",)), asks])
        self.widget = VBox(
            [
                Paragraph("Let a model look at the images", "heading"),
                self.who,
                self.help,
                Box([self.scope.widget], classes=("easel-pair",)),
                self.of_tagger,
                self.of_local,
                self.of_server,
                self.of_models,
                self.of_captions,
                row(self.start, self.look, self.said),
                self.list,
            ],
            classes=("easel-card", "easel-machine"),
        )
        session.jobs.feed.changed = self._job_changed

    # ---- what is shown ----
    def show(self) -> None:
        """Shows the fields of the chosen kind, and what is missing."""
        session, who = self.session, self.by
        self.who.show_cards(WHO, who)
        self.tagger.show_cards(self.known[TAGGER], self.models_chosen[TAGGER])
        self.local.show_cards(self.known[LOCAL], self.models_chosen[LOCAL])
        show(self.widget, session.root is not None)
        self.scope.show()
        self.help.show_text(HELP[who])
        show(self.of_tagger, who == TAGGER)
        show(self.of_local, who == LOCAL)
        show(self.of_models, who != SERVER)
        show(self.of_server, who == SERVER)
        show(self.of_captions, who != TAGGER)
        show(self.models, len(self.models.options) > 1)
        host, is_local = self._host()
        show(self.agree, bool(host) and not is_local)
        if host:
            self.agree.description = f"The images may leave this machine: send them to {host}"
        is_busy = self.is_checking or session.jobs.starting or session.jobs.is_live or bool(session.doing)
        self.start.disabled = self.look.disabled = is_busy or not session.entries
        self.said.show_text("Looking whether everything is there…" if self.is_checking else "")
        self.list.show_items(
            Item(
                str(place),
                one.message,
                one.fix.label if one.fix is not None and one.fix.is_advice else "",
                group=GROUPS[one.severity],
                acts=(Act("fix", one.fix.label, one.fix.label, is_usable=not is_busy),)
                if one.fix is not None and one.fix.task is not None
                else (),
            )
            for place, one in enumerate(self.problems)
        )

    def _host(self) -> tuple[str, bool]:
        """The host of the address, and whether it is this machine; "" if it is no address."""
        from trainer_core.captioning import endpoint
        from trainer_core.errors import EaselError

        if self.by != SERVER or not self.address.value.strip():
            return "", True
        try:
            found = endpoint.parse(self.address.value)
        except EaselError:
            return "", True
        return found.host, found.is_local

    # ---- what the user does ----
    def _changed(self) -> None:
        self.problems = ()

    def _choose_who(self, who: str) -> None:
        self.by = who
        self._changed()

    def _choose_model(self, who: str, model: str) -> None:
        self.models_chosen[who] = model
        self._changed()

    def _pick(self, name: str) -> None:
        if name:
            self.model.value = name

    def settings(self) -> tagging.Settings | asking.Settings:
        """What is asked for.

        Raises:
            DatasetError: no dataset is open, or no image is chosen.
        """
        from trainer_core.captioning import asking, tagging

        session = self.session
        if session.root is None:
            raise DatasetError("No dataset is open.")
        entries = self.scope.entries
        if not entries:
            raise DatasetError("There is no image to look at.", "Choose some, or another filter.")
        images = tuple(one.path for one in entries) if len(entries) < len(session.entries) else ()
        if self.by == TAGGER:
            return tagging.Settings(
                dataset=str(session.root),
                model=self.models_chosen[TAGGER],
                folder=self.folder.value.strip(),
                images=images,
            )
        host, _ = self._host()
        is_server = self.by == SERVER
        return asking.Settings(
            dataset=str(session.root),
            model=self.model.value.strip() if is_server else self.models_chosen[LOCAL],
            endpoint=self.address.value.strip() if is_server else "",
            folder="" if is_server else self.folder.value.strip(),
            template=self.template.value,
            text=self.question.value.strip(),
            trigger=session.trigger,
            images=images,
            extension=session.extension,
            confirmed=host if self.agree.value else "",
        )

    def _remember(self) -> None:
        from trainer_core.captioning import keys

        host, _ = self._host()
        if not host:
            raise DatasetError("Enter the address of the server first: a key is given to one host only.")
        keys.remember(host, self.key.value.strip())
        self.key.value = ""
        self.session.note(f"The key for {host} is kept until the kernel is restarted, in its memory only.")

    def _list(self) -> None:
        from trainer_core.captioning import checks

        address = self.address.value

        def work() -> None:
            names = checks.models_of(address)
            with self.session.lock:
                self.models.options = [("", ""), *((name, name) for name in names)]
                if names and not self.model.value.strip():
                    self.model.value = names[0]
            self.session.show_unasked("" if names else "The server lists no model.")

        threading.Thread(target=attempt, args=(work, self.session.show_soon), name="easel-models", daemon=True).start()

    def _fix(self, told: tuple[str, str]) -> None:
        """Starts the job of a fix, such as fetching a tagger."""
        from trainer_core.captioning import fetching

        fix = self.problems[int(told[0])].fix
        if fix is not None and fix.task is not None:
            settings = fetching.Settings(**dict(fix.task.arguments))
            self.session.jobs.start(partial(fetching.start, settings))

    def _start(self) -> None:
        self.session.drafts.save_all()
        settings = self.settings()
        self.problems, self.is_checking = (), True
        threading.Thread(target=self._check, args=(settings,), name="easel-check", daemon=True).start()

    def _check(self, settings: Any) -> None:
        """Looks in a thread whether the job can start, and starts it."""
        from trainer_core.captioning import asking, checks, tagging
        from trainer_core.problems import blocking

        reasons: list[str] = []
        found: list[Problem] = []
        is_tagging = isinstance(settings, tagging.Settings)
        look = checks.before_tagging if is_tagging else checks.before_captioning
        attempt(lambda: found.extend(look(settings)), reasons.append)
        with self.session.lock:
            self.problems, self.is_checking = tuple(found), False
            if not reasons and not blocking(found):
                self.done = None
                self._asked = settings
                begin = partial(tagging.start if is_tagging else asking.start, settings)
                self.session.jobs.start(begin)
        self.session.show_unasked(*reasons)

    _asked: Any = None

    def _look(self) -> None:
        """Shows what is kept, without a new job."""
        self.done = self.settings()

    def _job_changed(self, sentence: str) -> None:
        """Shows the results of a job that has ended; called by the feed, which does not wait."""
        job: Job | None = self.session.jobs.job
        if job is not None and job.state in FINAL_STATES:
            if job.spec.kind == KINDS[-1]:
                self.problems = ()
            else:
                self.done = self._asked
        self.session.show_soon(sentence)
