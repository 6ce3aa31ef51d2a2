"""Prints the structure of a checkout of Easel: rooms, depth, import cycles, upward imports, longest module and function.

    python scripts/measure_structure.py [CHECKOUT]

The import graph comes from grimp, which import-linter installs. The order of the rooms is that of the contract "rooms" in the
pyproject.toml of this checkout. A room is a package of the core, or another top-level package. The flat modules of the core
are below all rooms.
"""

from __future__ import annotations

import ast
import functools
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainer_core", "trainer_ui", "backends")
GROUND = "(flat modules)"
MOST_METHODS = 15

Graph = Mapping[str, Collection[str]]
"""The nodes that each node points at."""


def imports(checkout: Path, type_checking: bool = True) -> dict[str, set[str]]:
    """The modules that each module of a checkout imports, only those of its own packages."""
    sys.path.insert(0, str(checkout))
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=not type_checking, cache_dir=None)
    sys.path.remove(str(checkout))
    return {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}


def cycles(graph: Graph) -> list[list[str]]:
    """The strongly connected components of more than one node: Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def room(module: str, packages: Collection[str]) -> str:
    """The room of a module; `packages` are the modules that are packages."""
    top, *inner = module.split(".")
    if top != "trainer_core":
        return top
    return inner[0] if inner and f"{top}.{inner[0]}" in packages else GROUND


def rooms(graph: Graph) -> dict[str, list[str]]:
    """The modules of each room."""
    packages = {module.rpartition(".")[0] for module in graph}
    # A package with only data and `__init__` has no module below it: its `__init__.py` shows that it is one.
    packages |= {module for module in graph if (ROOT.joinpath(*module.split(".")) / "__init__.py").is_file()}
    found: dict[str, list[str]] = defaultdict(list)
    for module in graph:
        found[room(module, packages)].append(module)
    return dict(found)


def between_rooms(graph: Graph, of: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    where = {module: name for name, modules in of.items() for module in modules}
    return {
        name: {where[other] for module in modules for other in graph[module]} - {name} for name, modules in of.items()
    }


def depth(graph: Graph) -> int:
    """The number of nodes on the longest import path; the nodes of a cycle count as one."""
    joined = {node: node for node in graph} | {node: cycle[0] for cycle in cycles(graph) for node in cycle}
    below: dict[str, set[str]] = defaultdict(set)
    for node, others in graph.items():
        below[joined[node]] |= {joined[other] for other in others} - {joined[node]}

    @functools.cache
    def depth_of(node: str) -> int:
        return 1 + max((depth_of(other) for other in below[node]), default=0)

    return max(map(depth_of, set(joined.values())))


def order() -> list[set[str]]:
    """The rooms from the highest to the lowest, as in the layers contract of this checkout."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "rooms")
    below = [{name.strip("() ") for name in layer.split("|")} for layer in layers if ":" not in layer]
    return [{"trainer_ui", "backends"}, *below, {GROUND}]


def upward(graph: Graph, of: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """The imports from a room to a higher one, or to one in the same layer."""
    heights = {name: -place for place, names in enumerate(order()) for name in names}
    where = {module: name for name, modules in of.items() for module in modules if name in heights}
    return [
        (module, other)
        for module, others in graph.items()
        for other in sorted(others)
        if module in where and other in where and where[module] != where[other]
        if heights[where[other]] >= heights[where[module]]
    ]


def functions(checkout: Path) -> Iterator[tuple[int, str]]:
    """The number of lines of each function, without decorators, and where it is."""
    for file, tree in trees(checkout):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{node.name} in {file}"


def public_methods(checkout: Path) -> Iterator[tuple[int, str]]:
    """How many public methods and properties each class has, and where it is."""
    for file, tree in trees(checkout):
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
                yield sum(not name.startswith("_") for name in names), f"{node.name} in {file}"


def trees(checkout: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The parsed modules of a checkout."""
    for package in PACKAGES:
        for file in sorted((checkout / package).rglob("*.py")):
            yield file.relative_to(checkout), ast.parse(file.read_text("utf-8"))


def main() -> None:
    """Prints the table."""
    checkout = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT).resolve()
    graph, at_run_time = imports(checkout), imports(checkout, type_checking=False)
    of = rooms(graph)
    in_rooms = [len(modules) for name, modules in of.items() if name != GROUND]
    room_imports = between_rooms(graph, of)
    flat = len(of[GROUND]) - 1  # trainer_core itself does not count
    longest = max(
        (len(file.read_bytes().splitlines()), str(file.relative_to(checkout)))
        for file in (checkout / name for name, _ in trees(checkout))
    )
    methods = sorted(public_methods(checkout), reverse=True)
    packages = {name.rpartition(".")[0] for name in graph}
    side_by_side = Counter(name.rpartition(".")[0] for name in graph if name not in packages)
    rows = {
        "modules": len(graph),
        "rooms": len(in_rooms),
        "modules per room, mean (most)": f"{sum(in_rooms) / len(in_rooms):.1f} ({max(in_rooms)})",
        "flat modules in trainer_core": flat,
        "most modules side by side in one folder": "{1}: {0}".format(*side_by_side.most_common(1)[0]),
        "depth of rooms (of modules)": f"{depth(room_imports)} ({depth(graph)})",
        "cycles of modules (without TYPE_CHECKING)": f"{len(cycles(graph))} ({len(cycles(at_run_time))})",
        "modules in cycles": sum(map(len, cycles(graph))),
        "rooms in cycles with each other": sum(map(len, cycles(room_imports))),
        "upward imports": len(upward(graph, of)),
        "longest module (lines)": f"{longest[0]}: {longest[1]}",
        "longest function (lines)": "{}: {}".format(*max(functions(checkout))),
        f"classes with more than {MOST_METHODS} public methods": sum(count > MOST_METHODS for count, _ in methods),
    }
    for name, value in rows.items():
        print(f"{name:44} {value}")
    for name, modules in sorted(of.items()):
        print(f"  {name:30} {len(modules):3} modules, imports {', '.join(sorted(room_imports[name])) or 'nothing'}")
    for count, name in methods:
        if count > MOST_METHODS:
            print(f"{count} public methods: {name}")
    for title, found in (
        ("cycle", cycles(graph)),
        ("cycle of rooms", cycles(room_imports)),
        ("upward", upward(graph, of)),
    ):
        for each in found:
            print(f"{title}: {' '.join(each)}")


if __name__ == "__main__":
    main()
