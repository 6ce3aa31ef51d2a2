"""Paths of the user are read by functions that no loop of links and no unknown user ends with a stack trace."""

from __future__ import annotations

import ast

from trainer_core import places

INSTEAD = {"resolve": "places.real", "expanduser": "places.typed"}
"""Methods of Path that raise a RuntimeError: before Python 3.13 for links that lead to each other, and for ~nobody."""
OWN = {
    "trainer_core/places.py",
    # Its arguments are from Easel, and it runs where only the engine's Python is.
    "trainer_core/remote/export/programs/ray_job.py",
}


def test_no_method_of_path_is_used_that_raises_for_what_a_user_may_have():
    found = []
    for package in ("trainer_core", "trainer_ui", "backends"):
        for file in (places.CHECKOUT / package).rglob("*.py"):
            name, text = file.relative_to(places.CHECKOUT).as_posix(), file.read_text("utf-8")
            if name in OWN or not any(f".{method}()" in text for method in INSTEAD):
                continue
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.args:
                    continue
                of = ast.unparse(node.func.value)
                if node.func.attr in INSTEAD and "__file__" not in of and "__path__" not in of and of != "Path(place)":
                    found.append(f"{name}:{node.lineno}: {of}: use {INSTEAD[node.func.attr]}")
    assert not found
