"""What was found in a LoRA: its strength by block, the settings of its training, likely trigger words, and who loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer_core.jobs.state import JobState
from trainer_core.models.detection.layouts import TITLES
from trainer_core.text import printable
from trainer_core.weights.merging.blocks import meaning
from trainer_ui.formatting import Pairs, Paragraph, file_size, show
from trainer_ui.panels.card import fold
from trainer_ui.panels.model import family_title
from trainer_ui.widgets import HTML, Box, VBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trainer_ui.tool_session import ToolSession

KIND = "lora-inspect"
MOST_RANKS = 6
"""So many smaller ranks are listed, the largest ones."""


class LoraReport:
    """The report of the job that is shown, if it has one."""

    def __init__(self, session: ToolSession) -> None:
        self.session = session
        self.title = Paragraph("", "heading")
        self.facts, self.hints, self.training, self.hashes = Pairs(), Pairs(), Pairs(), Pairs()
        self.blocks = HTML(classes=("easel-table",))
        self.smaller = HTML(classes=("easel-table", "easel-lora-ranks"))
        more = fold(session, "Settings of its training", lambda: [self.training])
        hashes = fold(session, "Hashes", lambda: [self.hashes])
        self.widget = VBox(
            [
                self.title,
                Box([self.facts, self.hints], classes=("easel-tool-halves",)),
                self.smaller,
                self.blocks,
                more,
                hashes,
            ],
            classes=("easel-card", "easel-lora-report"),
        )
        show(self.widget, False)
        self._shown: object = None

    def show(self) -> None:
        """Shows the report."""
        from trainer_core.tools import lora_inspect

        job = self.session.jobs.job
        is_one = job is not None and job.spec.kind == KIND and job.state is JobState.COMPLETED
        report = lora_inspect.report_of(job.folder) if job is not None and is_one else None
        show(self.widget, report is not None)
        if report is None or job is None or self._shown == job.folder.path:
            return
        self._shown = job.folder.path
        self._fill(report)

    def _fill(self, report: Mapping[str, Any]) -> None:
        self.title.show_text(str(report.get("name", "")))
        layers = report.get("layers") or []
        unused = [row for row in layers if row.get("norm") == 0]
        wrong = [row for row in layers if row.get("problem")]
        rank = report.get("rank")
        self.facts.show_pairs(
            [
                (
                    "Kind",
                    f"{TITLES.get(str(report.get('kind')), report.get('kind', ''))} for {family_title(str(report.get('family') or ''))}",
                ),
                ("Rank", str(rank) if rank is not None else "differs from layer to layer"),
                ("Layers", f"{len(layers):,}" + (f", {len(unused)} of them change nothing" if unused else "")),
                ("Precision", ", ".join(map(str, report.get("dtypes") or ()))),
                *(
                    (("Damaged", f"{len(wrong)} layers, such as {wrong[0]['key']}: {wrong[0]['problem']}"),)
                    if wrong
                    else ()
                ),
            ]
        )
        loading = [(str(one.get("program", "")), _loads(one)) for one in report.get("loading") or ()]
        triggers = ", ".join(_trigger(one) for one in (report.get("triggers") or ())[:5])
        suggested = " ".join(str(one.get("sentence", "")) for one in report.get("suggestions") or ())
        self.hints.show_pairs(
            [
                *((("Likely trigger words", triggers),) if triggers else ()),
                *((("A smaller rank", suggested),) if suggested else ()),
                *loading,
                *(("Note", str(note)) for note in report.get("notes") or ()),
            ]
        )
        self.smaller.value = _smaller(report.get("smaller") or ())
        show(self.smaller, bool(self.smaller.value))
        self.blocks.value = _table(report.get("blocks") or ())
        self.training.show_pairs((str(row[0]), str(row[1])) for row in report.get("facts") or ())
        self.hashes.show_pairs((str(name), str(value)) for name, value in (report.get("hashes") or {}).items())


def _loads(answer: Mapping[str, Any]) -> str:
    """Whether a program loads it, and why not."""
    words = {"yes": "loads it.", "no": "does not load it.", "partly": "loads a part of it."}
    return f"{words.get(str(answer.get('loads', '')), 'is not known to load it.')} {answer.get('reason') or ''}".strip()


def _trigger(found: Mapping[str, Any]) -> str:
    share = found.get("share")
    return f"{found.get('text', found.get('word', ''))}" + (f" ({share:.0%})" if isinstance(share, float) else "")


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The blocks as a table; every text in it comes from a file, and is shown as text."""
    from html import escape

    lines, rows = [], list(rows)
    largest = max((float(row["share"]) for row in rows), default=0.0) or 1.0
    for row in rows:
        least, most, share = row["least_rank"], row["most_rank"], float(row["share"])
        rank = f"{least}" if least == most else f"{least} to {most}"
        lines.append(
            f"<tr><th scope=row>{escape(printable(str(row['block']), 60))}</th><td>{int(row['layers'])}</td><td>{escape(rank)}</td>"
            f'<td><span class="easel-share" style="--easel-share:{min(max(share / largest, 0.0), 1.0):.3f}" aria-hidden="true"></span><span class="easel-share-number">{share:.1%}</span></td></tr>'
        )
    head = "<tr><th scope=col>Block</th><th scope=col>Layers</th><th scope=col>Rank</th><th scope=col>Share of the change</th></tr>"
    if not lines:
        return ""
    told = meaning(str(row["block"]) for row in rows)
    said = f'<div class="easel-small easel-muted"><span class="easel-text">{escape(told)}</span></div>' if told else ""
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>{said}"


def _smaller(rows: Iterable[Mapping[str, Any]]) -> str:
    """What smaller ranks would make of the file, the largest ranks first."""
    lines = [
        f"<tr><th scope=row>{int(row['rank'])}</th><td>{file_size(int(row['size_bytes']) / 1024**2)}</td>"
        f"<td>{float(row['error']):.1%}</td></tr>"
        for row in reversed(list(rows)[-MOST_RANKS:])
    ]
    head = "<tr><th scope=col>Smaller rank</th><th scope=col>Size</th><th scope=col>Error</th></tr>"
    said = "The error is a share of the whole change. Resize makes the file of such a rank."
    told = f'<div class="easel-small easel-muted"><span class="easel-text">{said}</span></div>'
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>{told}" if lines else ""
