"""The table of fault drills is what the drills are."""

from __future__ import annotations

import importlib.util

from tests.support.checkout import ROOT

LEAST = 45


def test_the_table_of_drills_is_up_to_date():
    spec = importlib.util.spec_from_file_location("record_drills", ROOT / "scripts" / "record_drills.py")
    assert spec is not None
    assert spec.loader is not None
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    assert (ROOT / "docs" / "drills.md").read_text("utf-8") == recorder.table(), "python scripts/record_drills.py"
    assert recorder.table().count("\n| ") - 2 * recorder.table().count("| what happens |") >= LEAST
