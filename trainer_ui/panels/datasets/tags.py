"""The tags of the dataset with how many images have each, and what can be done with one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trainer_ui.components.action_list import Act, ActionList, Item
from trainer_ui.formatting import Paragraph, show
from trainer_ui.widgets import Text, VBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer_ui.dataset_session import DatasetSession

MOST_SHOWN = 40


class TagsPanel:
    """The most frequent tags. `prepare` fills the form of an edit, `see` shows the images of a filter."""

    def __init__(
        self, session: DatasetSession, prepare: Callable[[str, str], object], see: Callable[[str], object]
    ) -> None:
        self.session, self._prepare, self._see = session, prepare, see
        handler = session.handler
        self.search = Text(description="Find a tag", continuous_update=False)
        self.search.observe(handler(lambda _: None), "value")
        self.list = ActionList("Tags", handler(self._act))
        self.rest = Paragraph("", "small", "muted")
        self.widget = VBox(
            [Paragraph("Tags", "heading"), self.search, self.list, self.rest], classes=("easel-card", "easel-tags")
        )

    def show(self) -> None:
        """Shows the tags."""
        from trainer_core.curation import captions

        session = self.session
        counted = Counter(
            tag for one in session.entries for tag in {each.casefold() for each in captions.tags(one.caption)}
        )
        wanted = self.search.value.strip().casefold()
        found = [(tag, number) for tag, number in counted.most_common() if wanted in tag]
        whole = max(1, len(session.entries))
        self.list.show_items(
            Item(
                tag,
                tag,
                aside=f"{number:,}",
                share=number / whole,
                acts=(
                    Act("show", "Show", f"Show the images with {tag}"),
                    Act("replace-tag", "Replace", f"Replace {tag}"),
                    Act("remove", "Remove", f"Remove {tag}"),
                ),
            )
            for tag, number in found[:MOST_SHOWN]
        )
        self.rest.show_text(f"{len(found) - MOST_SHOWN:,} more, less frequent." if len(found) > MOST_SHOWN else "")
        show(self.widget, bool(counted))

    def _act(self, told: tuple[str, str]) -> None:
        from trainer_core.curation import filtering

        tag, act = told
        if act == "show":
            self._see(f"tag:{filtering.quoted(tag)}")
        else:
            self._prepare(act, tag)
