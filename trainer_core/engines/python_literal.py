"""A value in Python's notation, as settings of engines have them: read without running anything."""

from __future__ import annotations

import ast
from typing import Any


def value_of(text: str) -> Any:
    """The value of a literal.

    Raises:
        ValueError: it is none.
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        # A TypeError is for a list as the key of a table: {[]}.
        raise ValueError("it is no value in Python's notation") from error
