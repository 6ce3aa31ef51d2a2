"""Widgets for text: it is always shown as text and never as markup, whatever its source."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trainer_core.text import printable
from trainer_ui.widgets import HTML

if TYPE_CHECKING:
    from collections.abc import Iterable

TONES = ("ok", "warn", "danger", "muted", "accent")
AWAY = "easel-away"
"""The CSS class of a hidden widget."""


class Paragraph(HTML):
    """A paragraph of plain text. `classes` are the CSS classes of its look ("title", "muted", "small", ...).

    An HTML widget whose text is escaped. Not a Label: JupyterLab typesets the text of a Label as LaTeX, so a file name with
    two dollar signs would become a formula, and a formula can contain a link.
    """

    def __init__(self, text: str = "", *classes: str, role: str = "", **traits: Any) -> None:
        self._role = role
        looks = [f"easel-{name}" for name in classes]
        super().__init__(self._markup(text), classes=looks if text or role else [*looks, AWAY], **traits)

    def show_text(self, text: str, tone: str | None = None) -> None:
        """Shows `text`, in the colour of `tone` ("" for none, None for the same as before). An empty paragraph is hidden."""
        if tone is not None:
            for name in TONES:
                (self.add_class if name == tone else self.remove_class)(f"easel-{name}")
        self.value = self._markup(text)
        show(self, bool(text) or bool(self._role))

    def _markup(self, text: str) -> str:
        role = f' role="{self._role}"' if self._role else ""
        return f'<span class="easel-text"{role}>{escape(printable(text, 4000, keep=chr(10)))}</span>'


class Labelled(HTML):
    """A sentence after a bold label, such as "Blocks" or "Note"."""

    def __init__(self, label: str, text: str) -> None:
        super().__init__()
        self.show_text(label, text)

    def show_text(self, label: str, text: str, more: str = "") -> None:
        """Shows a sentence, and `more` after it in small type."""
        added = f"<small>{escape(printable(more))}</small>" if more else ""
        markup = f'<span class="easel-text"><b>{escape(label)}</b>{escape(printable(text))}{added}</span>'
        if self.value != markup:
            self.value = markup


class Pairs(HTML):
    """Lines of a bold name and a text."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("easel-pairs")

    def show_pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Shows these lines, each as (name, text)."""
        lines = (f"<div><b>{_shown(name)}</b> <span>{_shown(text)}</span></div>" for name, text in pairs)
        markup = f'<div class="easel-text">{"".join(lines)}</div>'
        if self.value != markup:
            self.value = markup


class Findings(HTML):
    """What was found, as groups with a heading: of each finding a sign in its tone, its name, the text, and smaller lines below."""

    def __init__(self) -> None:
        super().__init__(classes=("easel-found",))

    def show_groups(self, groups: Iterable[tuple[str, str, Iterable[tuple[str, str, Iterable[str]]]]]) -> None:
        """Shows groups as (heading, tone, findings), each finding as (name, text, lines below it)."""
        parts = []
        for heading, tone, findings in groups:
            rows = "".join(
                f"<li><b>{_shown(name)}</b><span>{_whole(text)}</span>{''.join(f'<small>{_whole(more)}</small>' for more in below if more)}</li>"
                for name, text, below in findings
            )
            if rows:
                parts.append(
                    f'<p class="easel-found-title">{_shown(heading)}</p><ul class="easel-found-{escape(tone or "plain")}">{rows}</ul>'
                )
        markup = f'<div class="easel-text">{"".join(parts)}</div>' if parts else ""
        if self.value != markup:
            self.value = markup


def _whole(text: str) -> str:
    return escape(printable(text, 2000))


def _shown(text: str) -> str:
    return escape(printable(text, 400))


def notebook_link(name: str) -> str:
    """A link to another notebook of Easel, which lies beside this one, by the name of its file without the ending."""
    title = name.replace("_", " ").replace("Lora", "LoRA")
    return f'<a href="{name}.ipynb" target="_blank" rel="noopener">{title}</a>'


def show(widget: Any, visible: bool) -> None:
    """Shows or hides a widget; a hidden one is not in the Tab order.

    Not for an ActionList or a Gallery: in JupyterLab the page did not follow such a change of classes. They hide themselves.
    """
    (widget.remove_class if visible else widget.add_class)(AWAY)


def hint(widget: Any, text: str) -> None:
    """Sets the tooltip of a widget, under the name that this version of ipywidgets uses."""
    setattr(widget, "tooltip" if widget.has_trait("tooltip") else "description_tooltip", text)


class Headline(HTML):
    """The state of a thing in the bar: a round sign, a title, and a line below it. It is read out when it changes."""

    def __init__(self) -> None:
        super().__init__(classes=("easel-headline",))

    def show_state(self, tone: str, sign: str, title: str, more: str = "", share: float | None = None) -> None:
        """Shows a sign in a tone ("", "ok", "warn", "danger", "accent"); with `share`, a ring of which that share is drawn."""
        ring = f' style="--easel-share:{min(1.0, max(0.0, share)):.3f}"' if share is not None else ""
        kind = f"easel-disc-{tone}" if share is None else "easel-disc-ring"
        markup = (
            f'<div class="easel-disc {kind}"{ring} aria-hidden="true"><span>{escape(sign)}</span></div>'
            f'<div role="status"><b>{_shown(title)}</b><span>{_shown(more)}</span></div>'
        )
        if self.value != markup:
            self.value = markup


class Figures(HTML):
    """Figures of the bar: a label, a value and smaller text after it; memory also as a meter."""

    def __init__(self) -> None:
        super().__init__(classes=("easel-figures",))

    def show_figures(
        self, figures: Iterable[tuple[str, str, str]], meter: tuple[float, float, str] | None = None
    ) -> None:
        """Shows figures as (label, value, more); `meter` is drawn in the last one: its fill and mark from 0 to 1, and its tone."""
        parts = [
            f"<div><small>{_shown(label)}</small><b>{_shown(value)} <i>{_shown(more)}</i></b></div>"
            for label, value, more in figures
            if value
        ]
        if meter is not None and parts:
            fill, mark, tone = meter
            drawn = (
                f'<span class="easel-meter easel-meter-{escape(tone)}" aria-hidden="true">'
                f'<s style="width:{_percent(fill)}"></s><u style="left:{_percent(mark)}"></u></span>'
            )
            parts[-1] = parts[-1].replace("<b>", f"{drawn}<b>", 1).replace("<div>", '<div class="easel-metered">', 1)
        markup = "".join(parts)
        if self.value != markup:
            self.value = markup
        show(self, bool(parts))


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.1f}%"


def file_size(size_mib: float) -> str:
    """The size of a file: "6.94 GB", "840 MB", "1.2 MB", "12 kB"; every place says it with this unit and rounding."""
    size = size_mib * 1024**2
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    if size >= 1e7:
        return f"{size / 1e6:,.0f} MB"
    return f"{f'{size / 1e6:.1f}'.removesuffix('.0')} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
