"""Records the nodes of ComfyUI-FluxTrainer in trainer_core/remote/training/nodes.json: inputs, types, bounds and outputs, without help texts.

Run it with a checkout of https://github.com/kijai/ComfyUI-FluxTrainer (Apache-2.0):

    .venv/bin/python scripts/record_training_nodes.py CHECKOUT

The nodes are read from the syntax tree of its nodes.py; nothing of it is imported or run.
"""

import argparse
import ast
import json
import subprocess
from pathlib import Path

TARGET = Path(__file__).parents[1] / "trainer_core" / "remote" / "training" / "nodes.json"
KEPT = ("default", "min", "max", "step", "forceInput")
FILES = "file of a folder"
STYLE = "style of matplotlib"

# Not for a request to another machine: it takes a token as an input, and requests are kept by the service.
LEFT_OUT = {"UploadToHuggingFace"}

# Source: ComfyUI, nodes.py, class SaveImage. Only its interface, so that a workflow with images is checked as a whole.
SAVE_IMAGE = {
    "inputs": {
        "images": {"type": "IMAGE", "required": True},
        "filename_prefix": {"type": "STRING", "required": True, "default": "ComfyUI"},
    },
    "outputs": [],
    "is_output": True,
}


def described(node: ast.expr, *, required: bool) -> dict:
    """One input: its type, or the values that it may have, and its bounds."""
    kind, *more = node.elts if isinstance(node, ast.Tuple) else [node]
    found: dict = {"required": required}
    if isinstance(kind, ast.Call):
        found["type"] = FILES
    elif isinstance(kind, ast.Attribute):
        found["type"] = STYLE
    else:
        value = ast.literal_eval(kind)
        found |= {"type": "one of", "values": value} if isinstance(value, list) else {"type": value}
    if more and isinstance(more[0], ast.Dict):
        for key, value in zip(more[0].keys, more[0].values, strict=True):
            # A default that is computed, such as a path, has no use on another machine.
            if isinstance(key, ast.Constant) and key.value in KEPT and not isinstance(value, ast.JoinedStr):
                found[key.value] = ast.literal_eval(value)
    return found


def entries(table: ast.expr | None) -> dict[str, ast.expr]:
    """The values of a written table, by its keys."""
    assert isinstance(table, ast.Dict)
    return {str(ast.literal_eval(key)): value for key, value in zip(table.keys, table.values, strict=True) if key}


def inputs_of(method: ast.FunctionDef) -> dict:
    """The inputs that INPUT_TYPES of a node returns, without those that ComfyUI itself passes."""
    returned = next(node.value for node in ast.walk(method) if isinstance(node, ast.Return))
    groups = {group: entries(table) for group, table in entries(returned).items() if group != "hidden"}
    return {
        name: described(value, required=group == "required")
        for group, table in groups.items()
        for name, value in table.items()
    }


def node_of(written: ast.ClassDef) -> dict | None:
    """The interface of a class; None if it is no node."""
    inputs, outputs, is_output = None, [], False
    for part in written.body:
        if isinstance(part, ast.FunctionDef) and part.name == "INPUT_TYPES":
            inputs = inputs_of(part)
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            name = part.targets[0].id
            outputs = list(ast.literal_eval(part.value)) if name == "RETURN_TYPES" else outputs
            is_output = ast.literal_eval(part.value) if name == "OUTPUT_NODE" else is_output
    return None if inputs is None else {"inputs": inputs, "outputs": outputs, "is_output": is_output}


def main() -> None:
    """Reads the checkout and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    checkout = parser.parse_args().checkout
    # Also from a repository without a work tree.
    shown = ["git", "-C", str(checkout), "show", "HEAD:nodes.py"]
    tree = ast.parse(subprocess.run(shown, capture_output=True, check=True).stdout)
    commit = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, check=True, text=True
    ).stdout.strip()
    nodes = {
        part.name: node_of(part) for part in tree.body if isinstance(part, ast.ClassDef) and part.name not in LEFT_OUT
    }
    record = {
        "source": "https://github.com/kijai/ComfyUI-FluxTrainer, nodes.py; SaveImage: ComfyUI, nodes.py",
        "commit": commit,
        "licence": "Apache-2.0",
        "nodes": {**{name: node for name, node in nodes.items() if node}, "SaveImage": SAVE_IMAGE},
    }
    TARGET.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
