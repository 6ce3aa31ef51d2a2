"""A bulk edit of the captions of 10,000 images, with its journal, and its undo: python benchmarks/bulk_edit.py [CAPTIONS].

Goal: 3 s each. The ratio to plain writes of as many new files is what can be compared between machines.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from trainer_core.curation.journal import Change, Journal

GOAL_S = 3.0
TAGS = ", ".join(f"a tag with number {number}" for number in range(31))


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for number in range(count):
            (root / f"{number:05}.txt").write_text(f"{number}, {TAGS}")
        journal = Journal(root)
        changes = [Change(f"{number:05}.txt", f"ohwx, {number}, {TAGS}".encode()) for number in range(count)]
        edit_s = _took(lambda: journal.apply("prefix", "Put ohwx first", changes))
        undo_s = _took(journal.undo)
        (root / "plain").mkdir()
        plain_s = _took(
            lambda: [(root / "plain" / one.path).write_bytes(bytes(one.path, "utf-8") * 90) for one in changes]
        )
    print(
        f"{count} captions: edit {edit_s:.2f} s, undo {undo_s:.2f} s, plain writes of new files {plain_s:.2f} s "
        f"({edit_s / plain_s:.1f} and {undo_s / plain_s:.1f} times)"
    )
    return 0 if max(edit_s, undo_s) <= GOAL_S else 1


def _took(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
