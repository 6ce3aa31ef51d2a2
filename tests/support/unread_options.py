"""Finds the options that a training script of sd-scripts accepts but never reads, by static analysis of its source code.

The analysis follows all code that the script can reach as a program: a plain name through the definitions and imports of its
module, `module.name` through the imports, and `.name` of anything else to the methods of that name in every used class. Methods
are resolved as in Python, so an overridden method counts only if `super()` calls it. An option is read if this code contains
`args.name` or `getattr(args, "name")`; reads for the metadata of the result ("ss_..." keys) or only for a log do not count.

    python tests/support/unread_options.py SOURCES SCHEMA [SCRIPT...]    # options and where they are read
"""

from __future__ import annotations

import ast
import functools
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

ONLY_LOGGING = frozenset({"verify_command_line_training_args", "get_sanitized_config_or_none"})
"""Functions that read all options to log them or to warn about them. Source: library/train_util.py."""

NO_EFFECT = frozenset(
    {
        # They only warn, or add metadata to the result.
        "get_sai_model_spec",
        "get_sai_model_spec_dataclass",
        "verify_sdxl_training_args",
        "verify_training_args",
        # It loads a custom dataset class, which Easel refuses.
        "load_arbitrary_dataset",
    }
)
"""Functions that read options without changing what is trained. Source: library/train_util.py, sdxl_train_util.py."""


@dataclass(eq=False)
class Module:
    """One file: its definitions and imports by name. An import is (module, name in it, or "" for the module itself)."""

    name: str
    tree: ast.Module
    definitions: dict[str, Definition]
    imports: dict[str, tuple[str, str]]


@dataclass(eq=False)
class Unit:
    """A piece of code that can run: a function, a method, or the top level of a module."""

    module: Module
    label: str
    body: list[ast.stmt]
    owner: Class | None = None


@dataclass(eq=False)
class Class:
    """A class and its base classes in the analysed source code, in the order of Python's lookup."""

    module: Module
    node: ast.ClassDef
    bases: list[Class]

    @property
    def methods(self) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        return {node.name: node for node in self.node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    def lineage(self) -> list[Class]:
        """The class and its ancestors; the source code uses only single inheritance."""
        return [self, *(ancestor for base in self.bases for ancestor in base.lineage())]


@dataclass
class Reach:
    """The code that one script can reach, and the places where it reads each option."""

    folder: Path
    modules: dict[str, Module | None] = field(default_factory=dict)
    classes: dict[ast.ClassDef, Class] = field(default_factory=dict)
    used: dict[ast.ClassDef, Class] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    """Names that follow a dot in the reached code."""
    units: dict[int, Unit] = field(default_factory=dict)
    reads: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    prefixes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    waiting: list[Unit] = field(default_factory=list)

    def run(self, script: str) -> None:
        """Follows all code that a script can reach."""
        module = self.module(script)
        assert module is not None, script
        for node in module.tree.body:
            if _is_main(node):
                self.add(Unit(module, f"{script}.__main__", [node]))
        while self.waiting:
            unit = self.waiting.pop()
            Scan(self, unit).scan()
            self.methods()

    def module(self, name: str) -> Module | None:
        """The module of a dotted name, whose top level is added; None if it is not in the source folder."""
        if name not in self.modules:
            path = self.folder / name.replace(".", "/")
            file = next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
            self.modules[name] = None
            if file and name:
                module = self.modules[name] = _module(name, file)
                top = [node for node in module.tree.body if not isinstance(node, _DEFINITIONS) and not _is_main(node)]
                self.add(Unit(module, f"{name}.top", top))
        return self.modules[name]

    def add(self, unit: Unit) -> None:
        key = id(unit.body[0]) if unit.body else 0
        if key and key not in self.units:
            self.units[key] = unit
            self.waiting.append(unit)

    def find(self, module: Module, name: str) -> tuple[Module, Definition | None] | None:
        """The (module, definition) of a name in a module; (module, None) if the name is a module; None for anything else."""
        if name in module.definitions:
            return module, module.definitions[name]
        if name not in module.imports:
            return None
        source, inner = module.imports[name]
        if inner and (within := self.module(f"{source}.{inner}" if source else inner)):
            return within, None
        target = self.module(source)
        if target is None:
            return None
        return self.find(target, inner) if inner else (target, None)

    def reach(self, module: Module, node: Definition) -> None:
        """Adds the code of a function, or the class body and later the methods of a class."""
        if not isinstance(node, ast.ClassDef):
            self.add(Unit(module, f"{module.name}.{node.name}", [*node.body, *_defaults(node)]))
        elif node not in self.used:
            self.used[node] = self.known_class(module, node)
            for owner in self.used[node].lineage():
                fields = [part for part in owner.node.body if not isinstance(part, _DEFINITIONS)]
                self.add(Unit(owner.module, f"{owner.module.name}.{owner.node.name}", fields))

    def known_class(self, module: Module, node: ast.ClassDef) -> Class:
        if node not in self.classes:
            bases = []
            for base in node.bases:
                found = self.resolve(module, base)
                if found and isinstance(found[1], ast.ClassDef):
                    bases.append(self.known_class(found[0], found[1]))
            self.classes[node] = Class(module, node, bases)
        return self.classes[node]

    def resolve(self, module: Module, node: ast.expr) -> tuple[Module, Definition | None] | None:
        """The definition of `a` or `a.b.c` in a module; None if it is an attribute of an object."""
        if isinstance(node, ast.Name):
            return self.find(module, node.id)
        if isinstance(node, ast.Attribute) and (holder := self.resolve(module, node.value)) and holder[1] is None:
            inner = self.module(f"{holder[0].name}.{node.attr}")
            return (inner, None) if inner else self.find(holder[0], node.attr)
        return None

    def methods(self) -> None:
        """Adds the methods of the used classes whose names follow a dot in the reached code."""
        for known in list(self.used.values()):
            names = {name for ancestor in known.lineage() for name in ancestor.methods}
            for name in names:
                if name in self.attributes or (name.startswith("__") and name.endswith("__")):
                    self.method(known.lineage(), name)

    def method(self, lineage: Iterable[Class], name: str) -> None:
        for owner in lineage:
            if name in owner.methods:
                node = owner.methods[name]
                self.add(Unit(owner.module, f"{owner.node.name}.{name}", node.body, owner))
                return


class Scan(ast.NodeVisitor):
    """Scans one unit: the options that it reads, and the code that it reaches."""

    def __init__(self, reach: Reach, unit: Unit) -> None:
        self.reach, self.unit = reach, unit
        self.is_logging = unit.label.rpartition(".")[2] in ONLY_LOGGING

    def scan(self) -> None:
        for node in self.unit.body:
            self.visit(node)
        if not self.is_logging and any(_reads_by_variable(part) for node in self.unit.body for part in ast.walk(node)):
            for node in self.unit.body:
                for part in ast.walk(node):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        self.read(part.value)

    def read(self, name: str) -> None:
        if not self.is_logging:
            (self.reach.prefixes if name.endswith("_") else self.reach.reads)[name].add(self.unit.label)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.reach.module(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.reach.find(self.unit.module, alias.asname or alias.name)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # The fields of a dataset's class of parameters: if the description lacks an option, it comes from `args`.
        if isinstance(node.target, ast.Name) and self.unit.label.endswith("Params"):
            self.read(
                {"batch_size": "train_batch_size", "num_repeats": "dataset_repeats"}.get(node.target.id, node.target.id)
            )
        if node.value:
            self.visit(node.value)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and str(key.value).startswith("ss_")):
                self.visit(value)

    def visit_Assign(self, node: ast.Assign) -> None:
        first = node.targets[0]
        if (
            isinstance(first, ast.Subscript)
            and isinstance(first.slice, ast.Constant)
            and str(first.slice.value).startswith("ss_")
        ):
            return
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "logger":
            return
        if _is_lookup(node) and isinstance(node.args[1], ast.Constant):
            self.read(str(node.args[1].value))
        if isinstance(called, ast.Attribute) and _is_super(called.value) and self.unit.owner:
            self.reach.method(self.unit.owner.lineage()[1:], called.attr)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if _is_args(node.value):
            if isinstance(node.ctx, ast.Load):
                self.read(node.attr)
            return
        if found := self.reach.resolve(self.unit.module, node):
            if found[1] is not None:
                self.reach.reach(found[0], found[1])
            return
        if not _is_super(node.value):
            self.reach.attributes.add(node.attr)
        self.visit(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        if (found := self.reach.find(self.unit.module, node.id)) and found[1] is not None:
            self.reach.reach(found[0], found[1])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in [*node.body, *_defaults(node)]:
            self.visit(part)

    def visit_arg(self, node: ast.arg) -> None:
        """Ignores annotations."""


@functools.cache
def _module(name: str, file: Path) -> Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about literals in the engine's code
        tree = ast.parse(file.read_text("utf-8"))
    definitions = {node.name: node for node in ast.walk(tree) if isinstance(node, _DEFINITIONS) and node in tree.body}
    imports: dict[str, tuple[str, str]] = {}
    package = name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                imports[alias.asname or top] = (alias.name if alias.asname else top, "")
        elif isinstance(node, ast.ImportFrom):
            source = ".".join(part for part in (package if node.level else "", node.module or "") if part)
            imports.update({alias.asname or alias.name: (source, alias.name) for alias in node.names})
    return Module(name, tree, definitions, imports)


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    return [*node.args.defaults, *(value for value in node.args.kw_defaults if value), *node.decorator_list]


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.dump(node.test)


def _is_args(node: ast.expr) -> bool:
    """`args`, or `self.args`."""
    return (isinstance(node, ast.Name) and node.id == "args") or (
        isinstance(node, ast.Attribute) and node.attr == "args"
    )


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _is_lookup(node: ast.AST) -> TypeGuard[ast.Call]:
    """`getattr(args, ...)`, or `hasattr`."""
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
    return named and isinstance(node, ast.Call) and _is_args(node.args[0])


def _reads_by_variable(node: ast.AST) -> bool:
    return _is_lookup(node) and not isinstance(node.args[1], ast.Constant)


def readers(folder: Path, script: str, options: Iterable[str]) -> dict[str, set[str]]:
    """{option: the functions that read it}, in the order of `options`; an empty set if no function reads it."""
    reach = Reach(folder)
    reach.run(script)
    found = {}
    for name in options:
        by_prefix = (where for prefix, where in reach.prefixes.items() if name.startswith(prefix))
        found[name] = set.union(reach.reads.get(name, set()), *by_prefix)
    return found


def unread(folder: Path, script: str, options: Iterable[str]) -> set[str]:
    """The options that are not read by any function that influences the training or the saved file."""
    found = set()
    for name, where in readers(folder, script, options).items():
        is_metadata = name == "training_comment" or (name.startswith("metadata_") and where)
        if not is_metadata and not {reader.rpartition(".")[2] for reader in where} - NO_EFFECT:
            found.add(name)
    return found


def main() -> Iterator[str]:
    folder, schema, *scripts = sys.argv[1:]
    for script in scripts or sorted(
        path.stem for path in Path(folder).glob("*.py") if Path(schema, f"{path.stem}.json").is_file()
    ):
        data = json.loads((Path(schema) / f"{script}.json").read_text("utf-8"))
        if "common" in data:
            data["options"] |= json.loads((Path(schema) / data["common"]).read_text("utf-8"))["options"]
        for name, where in readers(Path(folder), script, sorted(data["options"])).items():
            yield f"{script} {name}: {', '.join(sorted(where)) or '-'}"


if __name__ == "__main__":
    print("\n".join(main()))
