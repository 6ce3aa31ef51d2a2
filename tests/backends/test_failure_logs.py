"""The corpus of logs: each signature explains its own log, as the chosen cause, and no other; none fires on a success."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.support.failures import ENGINES, LOGS, TABLES, Log, logs, own_rows
from trainer_core.engines import diagnosis
from trainer_core.engines.diagnosis import Signature
from trainer_core.plan import fields

ROWS = list(own_rows())
WARNINGS = {(folder, row.id) for folder, row in ROWS if row.severity == "warning"}
FAILURES = [log for log in logs() if not log.is_success and (log.folder, log.name) not in WARNINGS]
SUCCESSES = [log for log in logs() if log.is_success]


def cause(log: Log, table: str, code: int | None = 1) -> str:
    found = diagnosis.explain(log.lines, TABLES[table], code)
    return found.id if found else "none"


@pytest.mark.parametrize(("folder", "row"), ROWS, ids=[f"{folder}/{row.id}" for folder, row in ROWS])
def test_each_signature_has_a_log(folder, row):
    assert Log(folder, row.id).path.is_file(), f"Record the log tests/data/logs/{folder}/{row.id}.log."


def test_each_log_belongs_to_a_signature():
    known = {(folder, row.id) for folder, row in ROWS}
    assert [str(log) for log in logs() if not log.is_success and (log.folder, log.name) not in known] == []


@pytest.mark.parametrize("log", FAILURES, ids=str)
def test_each_failure_is_explained_by_its_own_signature(log):
    for table in log.tables:
        found = diagnosis.explain(log.lines, TABLES[table], 1)
        assert found is not None
        assert found.id == log.name, (table, found.line)
        assert found.line, "the line of the log that shows it is quoted"


@pytest.mark.parametrize("log", [log for log in FAILURES if log.name != "loss-nan"], ids=str)
def test_a_log_alone_gives_no_other_cause_than_with_its_exit_code(log):
    """Without an exit code, only a traceback or a certain line shows that something went wrong."""
    assert {cause(log, table, None) for table in log.tables} <= {log.name, "none"}


@pytest.mark.parametrize(("folder", "name"), sorted(WARNINGS))
def test_each_warning_is_noticed_and_is_no_cause(folder, name):
    log = Log(folder, name)
    assert name in {found.id for found in diagnosis.noticed(log.lines, TABLES[folder])}
    assert cause(log, folder, None) == "none"


@pytest.mark.parametrize("log", SUCCESSES, ids=str)
@pytest.mark.parametrize("table", TABLES)
def test_no_signature_fires_on_a_success(log, table):
    assert cause(log, table, 0) == "none"
    assert cause(log, table, None) == "none"


@pytest.mark.parametrize("log", SUCCESSES, ids=str)
def test_a_success_that_is_said_to_have_failed_is_unknown(log):
    assert cause(log, log.folder, 1) == "unknown"


@pytest.mark.parametrize(("folder", "row"), ROWS, ids=[f"{folder}/{row.id}" for folder, row in ROWS])
def test_the_fixes_of_a_signature_name_settings(folder, row: Signature):
    for fix in row.fixes:
        assert fix.path == "native" or fix.path in fields.all_fields(), f"{folder}/{row.id}: {fix.path}"
        assert (fix.value is None) != (fix.times is None), "either a value or a factor"
    assert row.cause.endswith(".")
    assert re.match(r"[A-Z]", row.cause)


def test_precision_and_recall_over_the_corpus(capsys):
    """Prints the figures of docs/records/2026-11-29-diagnosis-corpus.md."""
    hits, named, cases = 0, 0, 0
    wrong: Counter[str] = Counter()
    for log in FAILURES:
        for table in log.tables:
            found = cause(log, table)
            cases += 1
            named += found != "unknown"
            hits += found == log.name
            if found != log.name:
                wrong[f"{log} as {found}"] += 1
    false = sum(cause(log, table, 0) != "none" for log in SUCCESSES for table in TABLES)
    with capsys.disabled():
        print(
            f"\n{len(ROWS)} signatures, {len(FAILURES)} failures in {cases} cases: precision {hits / max(named, 1):.3f}, "
            f"recall {hits / cases:.3f}; {len(SUCCESSES)} successes: {false} false causes"
        )
    assert not wrong
    assert not false


def test_there_are_logs_of_every_engine():
    assert {path.name for path in LOGS.iterdir()} >= {*ENGINES, "common", "system", "install"}
