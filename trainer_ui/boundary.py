"""The boundary around widget callbacks and threads: an error becomes a sentence, and its traceback goes to a file."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from trainer_core import places
from trainer_core.errors import EaselError
from trainer_core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_SENTENCE = 600


def log_file() -> Path:
    """The file with the tracebacks of unexpected errors."""
    return places.home() / "logs" / "notebook.log"


def attempt(action: Callable[[], object], say: Callable[[str], None]) -> bool:
    """Runs `action` and returns True; when it fails, passes the reason to `say` and returns False.

    No exception leaves this function: Jupyter drops the exception of a callback or prints it where nobody looks, and an
    exception in a thread ends the thread.
    """
    try:
        action()
    except EaselError as error:
        say(printable(str(error), LONGEST_SENTENCE))
    except Exception as error:  # noqa: BLE001  # the only broad `except` of the notebooks
        say(_unexpected(error))
    else:
        return True
    return False


def _unexpected(error: Exception) -> str:
    what = printable(f"{type(error).__name__}: {error}", LONGEST_SENTENCE)
    text = "".join(traceback.format_exception(error))
    try:
        log_file().parent.mkdir(parents=True, exist_ok=True)
        with log_file().open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
    except OSError:
        logging.getLogger(__name__).warning("%s", text)
        return f"This did not work: {what}."
    return f"This did not work: {what}. The details are in {log_file()}."
