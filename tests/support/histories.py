"""The place History of an app without a page: written runs, and what the page of the table sends."""

from tests.support.page import go, wait_for
from tests.support.written_runs import write_run


def written(count=3):
    return [
        write_run(
            f"202601{number + 1:02}-100000-mika-{number}", network__rank=number + 1, dataset__trigger=f"M{number % 2}"
        )
        for number in range(count)
    ]


def shown(app):
    """The history when it has been read."""
    go(app, "history")
    wait_for(lambda: app.history.reader.seen is not None and len(app.history.reader.seen.sizes) == app.history.number)
    wait_for(lambda: "loading" not in app.history.table.content)
    wait_for(lambda: all(row["size"] for row in app.history.table.content["rows"] if "run" in row))
    return app.history


def names(history):
    return [row["run"] for row in history.table.content["rows"] if "run" in row]


def ask(history, kind, **more):
    """What the page sends when something in the table was used."""
    history.table._handle_custom_msg({"kind": kind, **more}, [])
