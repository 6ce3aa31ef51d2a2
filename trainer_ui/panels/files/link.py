"""Files from a link: fetched by a job, which goes on when the page is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer_core.jobs.state import JobState
from trainer_ui.explaining import helped
from trainer_ui.formatting import Paragraph, hint, show
from trainer_ui.job_session import known_jobs
from trainer_ui.panels.run import RunPanel
from trainer_ui.widgets import Box, Button, Checkbox, Password, Text, VBox

if TYPE_CHECKING:
    from trainer_ui.files_session import FilesSession

KIND = "bring"


class LinkPanel:
    """The link, where it goes, a token if the site wants one, and Fetch."""

    def __init__(self, session: FilesSession) -> None:
        self.session = session
        handler = session.handler
        self.link = Text(
            description="Link",
            placeholder="https://…, or org/name of a model on Hugging Face",
            continuous_update=False,
        )
        self.by_kind = Checkbox(
            description="Put a model into the folder for its kind, in Models", value=True, indent=False
        )
        self.by_kind.observe(handler(lambda _: None), "value")
        self.unpacks = Checkbox(description="Unpack it, if it is a zip", value=False, indent=False)
        self.goes = Paragraph("", "muted", "small")
        self.fetch = Button(description="Fetch it", button_style="primary", classes=("easel-big",))
        self.fetch.on_click(handler(lambda _: self._fetch()))
        self.token = Password(description="Token, if the site wants one")
        hint(self.token, "It stays in the memory of this kernel and of the job, and is never written to a file.")
        line = helped(self.link, "A page or file of Hugging Face or Civitai, or the address of any file.")
        secret = helped(self.token, "It is used for the site of the link, and never written to a file or a log.")
        self.widget = VBox(
            [
                Paragraph("From a link", "heading"),
                Box([line, secret], classes=("easel-halves",)),
                self.by_kind,
                self.unpacks,
                self.goes,
                Box([self.fetch], classes=("easel-row",)),
            ],
            classes=("easel-card", "easel-files-link"),
        )

    def show(self) -> None:
        """Shows where it goes, and whether it can be fetched now."""
        place = "the folder for its kind, in Models" if self.by_kind.value else self.session.target.text
        other = "" if self.by_kind.value else " Choose another one under Bring in."
        self.goes.show_text(f"It goes into {place}.{other}")
        self.fetch.disabled = self.session.jobs.is_live or self.session.jobs.starting
        self.fetch.description = "It is being fetched" if self.fetch.disabled else "Fetch it"

    def _fetch(self) -> None:
        from trainer_core.keeping import bounds, fetching
        from trainer_core.models import tokens

        text, secret = self.link.value, self.token.value
        self.token.value = ""
        link = fetching.parse(text)
        if secret.strip() and link.site in tokens.SITES:
            tokens.remember(link.site, secret)
        where = None
        if not self.by_kind.value:
            where = self.session.target
            if where.parts:
                bounds.make_folders(where)
                where.path.mkdir(exist_ok=True)
        unpacks = self.unpacks.value
        self.session.jobs.start(lambda: fetching.start(text, where, unpacks=unpacks))


class LinkJob:
    """The job that fetches, once there is one, and what came of the last ones."""

    def __init__(self, session: FilesSession) -> None:
        self.session = session
        self.run = RunPanel(session.jobs)
        self.parts = VBox([self.run.widget])
        self.none = Paragraph(
            "Nothing is being fetched. A job goes on when this page is closed, and is found here again.",
            "muted",
            "small",
        )
        self.heading = Paragraph("The job", "heading")
        self.before = Paragraph("", "muted", "small", "lines")
        self.widget = VBox(
            [self.heading, self.none, self.parts, self.before], classes=("easel-card", "easel-machine-job")
        )
        self._ended: object = None

    def show(self) -> None:
        """Shows the job; a file that has come is seen at once in the list of files."""
        jobs = self.session.jobs
        self.run.show()
        show(self.parts, jobs.job is not None)
        show(self.none, jobs.job is None)
        key = (jobs.job.name, jobs.state) if jobs.job is not None else None
        if key != self._ended:
            self._ended = key
            self.before.show_text("\n".join(self._past()))
            if jobs.state is JobState.COMPLETED:
                self.session.look()

    def _past(self) -> list[str]:
        from trainer_core.keeping import fetching

        words = []
        current = self.session.jobs.job
        for job in known_jobs(KIND):
            settings = fetching.settings_of(job)
            if settings is not None and (current is None or job.name != current.name):
                words.append(f"{settings.link}: {job.state.value}")
            if len(words) >= 5:
                break
        return ["Before:", *words] if words else []
