"""Uploads a checkpoint or a file to Hugging Face: the form with the card, and the upload, which goes on when the page is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from trainer_core.jobs.state import FINAL_STATES, JobState
from trainer_core.models import hub_repository, tokens
from trainer_core.publishing import hub, model_card, offer, upload
from trainer_ui.boundary import attempt
from trainer_ui.formatting import Pairs, Paragraph, show
from trainer_ui.job_session import JobSession
from trainer_ui.widgets import HTML, Box, Button, Checkbox, Dropdown, FloatProgress, Password, Text, Textarea, VBox

if TYPE_CHECKING:
    from trainer_core.jobs.job import Job
    from trainer_core.publishing.file_offer import FileOffer
    from trainer_core.publishing.offer import Offer
    from trainer_core.tools.scrub import Finding
    from trainer_ui.run_results import RunResults
    from trainer_ui.views import Views

SITE = "huggingface"
MOST_LOST = 8
"""So many of the keys that are removed are listed."""


class Source(Protocol):
    """What the panel can upload now.

    `stays_open`: the form is shown whenever there is something, instead of being opened and closed, and its place shows the button
    `send`. `has_samples`: it may have some.
    """

    stays_open: bool
    has_samples: bool

    @property
    def views(self) -> Views:
        """The views of the app."""
        ...

    @property
    def key(self) -> object:
        """What is chosen now, as a value that differs from that of anything else; None for nothing."""
        ...

    @property
    def title(self) -> str:
        """What is chosen now, in a few words."""
        ...

    def reader(self) -> Callable[[], Offer | FileOffer]:
        """A function that reads what is chosen now; it is called in a thread."""
        ...

    def changed(self) -> None:
        """Called when the panel has something new to show."""
        ...


class RunSource:
    """The chosen checkpoint of the results that are shown."""

    stays_open, has_samples = False, True

    def __init__(self, state: RunResults) -> None:
        self.state = state

    @property
    def views(self) -> Views:
        """The views of the app."""
        return self.state.session

    @property
    def key(self) -> object:
        """The run and the step."""
        run, one = self.state.run, self.state.made
        return (run.folder.path, one.step) if run is not None and one is not None else None

    @property
    def title(self) -> str:
        """The step."""
        one = self.state.made
        return f"step {one.step:,}" if one is not None else ""

    def reader(self) -> Callable[[], Offer]:
        """Prepares the file of the checkpoint."""
        run, one = self.state.run, self.state.made
        assert run is not None, "something is chosen"
        assert one is not None
        return lambda: offer.offer(run, one.step)

    def changed(self) -> None:
        """Lets the results be shown again."""
        self.state.version += 1


class PublishPanel:
    """A card with the form, and below it the upload in progress. It is made when it is first opened, by the user."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.views = session = source.views
        handler = session.handler
        self.jobs: JobSession[Job] = JobSession(session)
        self.jobs.refusal = lambda: "An upload is running. Wait until it ends, or stop it." if self.jobs.is_live else ""
        self.jobs.feed.tell, self.jobs.feed.changed = self._tell, session.show_soon
        self.title = Paragraph("", "heading", "grow")
        self.repo = Text(description="Repository", placeholder="your-name/name-of-the-lora", continuous_update=False)
        self.base = Text(
            description="Base model on the Hub", placeholder="optional, such as owner/name", continuous_update=False
        )
        licences = [(title, name) for name, title in model_card.licences().items()]
        self.licence = Dropdown(description="Licence", options=licences, value=model_card.NO_LICENCE)
        self.public = Checkbox(description="Everybody can see it", value=False)
        self.samples = Checkbox(description="With the samples of this step", value=True)
        self.scrub = Checkbox(description="Without personal metadata", value=True)
        self.losing, self.lost = Paragraph("", "muted", "small"), Pairs()
        self.card = Textarea(description="Model card", rows=14, continuous_update=False)
        self.replaces = Checkbox(description="Replace the card that the repository has", value=False)
        self.token = Password(description="Token with the permission to write", placeholder="hf_…")
        self.known = Paragraph("", "muted", "small")
        self.send = Button(button_style="primary", classes=("easel-publish-send",))
        self.send.on_click(handler(lambda _: self._send()))
        self.cancel = Button(description="Close")
        self.cancel.on_click(handler(lambda _: self.close()))
        self.says = Paragraph("", "grow", role="status")
        self.bar = FloatProgress(min=0.0, max=1.0)
        self.link = HTML()
        self.stop = Button(description="Stop the upload", classes=("easel-stop",))
        self.stop.on_click(handler(lambda _: self.jobs.stop()))
        for one in (self.licence, self.base, self.samples):
            one.observe(handler(lambda _: self._redraft()), "value")
        for one in (self.public, self.scrub):
            one.observe(handler(lambda _: None), "value")
        self.widget = self._layout()
        self.offer: Offer | FileOffer | None = None
        self.failed = ""
        """Why the file cannot be uploaded; "" while nothing is known against it."""
        self.is_open = self.is_reading = False
        self._drafted = ""
        self._findings: list[Finding] = []
        self._key: object = None

    def _layout(self) -> VBox:
        fields = Box([self.repo, self.licence, self.base], classes=("easel-halves", "easel-publish-fields"))
        checks = Box([self.samples, self.scrub, self.public, self.replaces], classes=("easel-row",))
        buttons = [] if self.source.stays_open else [Box([self.send, self.cancel], classes=("easel-row",))]
        parts = [fields, checks, self.losing, self.lost, self.card, self.token, self.known, *buttons]
        self.form = VBox(parts, classes=("easel-ask",))
        self.progress = VBox([Box([self.says, self.stop], classes=("easel-row",)), self.bar, self.link])
        # Under a form that stays, nobody would see the upload.
        shown = [self.progress, self.form] if self.source.stays_open else [self.form, self.progress]
        return VBox([self.title, *shown], classes=("easel-card", "easel-publish"))

    def look(self) -> None:
        """Finds an upload that is in progress: the kernel may have been restarted."""
        self.jobs.follow_live(upload.known())

    def open(self) -> None:
        """Opens the form for the chosen checkpoint; its file is prepared in a thread."""
        self.is_open = True
        self._prepare()
        # What is hidden cannot get the keyboard.
        show(self.widget, True)
        show(self.form, True)
        self.repo.focus()

    def close(self) -> None:
        """Closes the form; an upload goes on."""
        self.is_open = False
        self.source.changed()

    def end(self) -> None:
        """Ends the feed; an upload goes on."""
        self.jobs.close()

    def _prepare(self) -> None:
        key = self.source.key
        if key is None:
            return
        read = self.source.reader()
        self._key, self.offer, self.failed, self.is_reading = key, None, "", True
        self._drafted = self.card.value = ""
        self.source.changed()

        def act() -> None:
            found = read()
            lost = found.findings()
            with self.views.lock:
                if key == self._key:
                    self.offer, self._findings = found, lost
                    self._redraft()

        def failed(sentence: str) -> None:
            with self.views.lock:
                if key == self._key:
                    self.failed = sentence

        def work() -> None:
            attempt(act, failed)
            with self.views.lock:
                self.is_reading = self.is_reading and key != self._key
                self.source.changed()
            self.views.show_soon()

        threading.Thread(target=work, name="easel-offer", daemon=True).start()

    def _show_lost(self) -> None:
        """The personal metadata of the file, and what becomes of it."""
        rows = [(each.key, each.reason) for each in self._findings] if self.offer is not None else []
        if len(rows) > MOST_LOST:
            rows[MOST_LOST - 1 :] = [(f"and {len(rows) - MOST_LOST + 1} more", "")]
        done = (
            "This is removed from the copy that is uploaded:"
            if self.scrub.value
            else "This goes along, and everybody who gets the file can read it:"
        )
        self.losing.show_text(done if rows else "", "muted" if self.scrub.value else "warn")
        show(self.lost, bool(rows))
        self.lost.show_pairs(rows)

    def _redraft(self) -> None:
        """Writes the card again, unless the user has changed it."""
        if self.offer is None or self.card.value != self._drafted:
            return
        shown = self.offer if self.samples.value else self.offer.without_samples()
        self._drafted = self.card.value = shown.card(str(self.licence.value), self.base.value)

    def _send(self) -> None:
        found = self.offer
        if found is None:
            return
        text, self.token.value = self.token.value.strip(), ""
        if text:
            tokens.remember(SITE, text)
        shown = found if self.samples.value else found.without_samples()
        settings = shown.settings(
            self.repo.value,
            self.card.value,
            private=not self.public.value,
            scrub=bool(self.scrub.value),
            replaces_card=bool(self.replaces.value),
        )
        upload.check(settings)
        if tokens.find(SITE) is None:
            self.token.focus()
        if self.jobs.start(lambda: upload.start(settings)):
            self.stop.focus()

    def show(self) -> None:
        """Shows the form, and the upload."""
        key = self.source.key
        if self.source.stays_open:
            self.is_open = key is not None
        if self.is_open and key is not None and key != self._key:
            self._prepare()
        live = self.jobs.is_live or self.jobs.starting
        show(self.widget, self.is_open or self.jobs.job is not None)
        show(self.form, self.is_open)
        show(self.samples, self.source.has_samples)
        show(self.progress, self.jobs.job is not None or self.jobs.starting)
        show(self.stop, self.jobs.is_live)
        show(self.bar, live)
        name = f" {self.source.title}" if self.is_open and self.source.title else ""
        self.title.show_text(f"Upload{name} to Hugging Face")
        seen = "everybody can see it" if self.public.value else "private: only you can see it"
        self.send.description = f"Upload\n{seen}"
        self.send.disabled = live or self.offer is None or key is None
        if not self.is_open:
            return
        self._show_lost()
        if self.offer is not None:
            self.repo.placeholder = (
                f"your-name/{hub_repository.suggested(self.offer.name.removesuffix('.safetensors'))}"
            )
        source = tokens.find(SITE)
        self.known.show_text(
            self.failed
            or ("Preparing the file…" if self.is_reading else "")
            or (f"Easel uses the token from {source.source}. Enter another one to use that." if source else ""),
            "danger" if self.failed else "muted",
        )

    def _tell(self, message: Mapping[str, Any], _: list[bytes]) -> None:
        """Shows what is new; called by the thread of the feed."""
        job = self.jobs.job
        if job is None or message["run"] != job.name:
            return
        status = message["status"]
        rows = {row["label"]: row["text"] for row in status["verdict"]}
        repo = str(upload.settings_of(job).get("repo", ""))
        if status["state"] == JobState.COMPLETED.name:
            self.says.show_text(f"Uploaded to {repo}.", "ok")
            self._show_link(repo)
        elif status["state"] == JobState.CANCELLED.name:
            self.says.show_text("The upload was stopped. Nothing new is shown on the Hub.", "warn")
        elif status["state"] in {state.name for state in FINAL_STATES}:
            why = " ".join(text for name in ("What happened", "What to do") if (text := rows.get(name)))
            self.says.show_text(f"It was not uploaded. {why}", "danger")
        else:
            total = status["total"]
            self.bar.value = status["step"] / total if total else 0.0
            share = f", {status['step']:,} of {total:,} MiB" if total else ""
            self.says.show_text(f"{str(status['phase']).capitalize()}{share}. It goes on if you close this page.", "")
            self.link.value = ""

    def _show_link(self, repo: str) -> None:
        """A link to the repository, whose name was checked before the upload."""

        def act() -> None:
            address = hub.address(hub_repository.checked(repo))
            self.link.value = (
                f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(address)}</a>'
            )

        attempt(act, lambda _: None)
