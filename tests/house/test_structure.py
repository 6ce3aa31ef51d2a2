"""The structure of the code: no import cycles, few flat modules, small classes, one writer and one reader of files."""

import ast
import re

import pytest

from scripts import measure_structure
from tests.conftest import _together
from tests.support.checkout import ROOT, tracked

READ_IN_MEMORY = {
    "backends/kohya/problems.py": "the engine's files as they were rendered",
    "backends/musubi/problems.py": "the engine's files as they were rendered",
    "trainer_core/install/wheelhouse.py": "what a source package says of its build, inside of its archive",
    "trainer_core/cli/profiles.py": "somebody else's file, read by profiles.reading",
    "trainer_core/engines/pasted.py": "a text that a user pastes",
    "trainer_core/engines/option_sources.py": "the engine's files as they were rendered",
    "trainer_core/prepare/entering.py": "a value that a user types",
    "trainer_core/profiles/reading.py": "somebody else's file, checked before it is parsed",
    "trainer_core/engines/contract.py": "the engine's files as they were rendered",
}
"""The modules that parse TOML themselves, and what they read."""

RENAMED = {
    "trainer_core/install/bundling.py": "an archive, when it is whole",
    "trainer_core/install/kept.py": "the parts of an environment, which are folders",
    "trainer_core/install/from_bundle.py": "folders that were copied whole",
    "trainer_core/install/wheelhouse.py": "files that were downloaded and checked, of gigabytes",
    "trainer_core/remote/export/programs/ray_job.py": "results of a program that imports nothing of Easel",
    "trainer_core/remote/machines/store.py": "a file that arrived in pieces, to its hash, and a folder of links",
    "trainer_core/curation/exporting.py": "a folder or a zip, when it is whole",
    "trainer_core/curation/leftovers.py": "a folder, when it is locked",
    "trainer_core/curation/receiving.py": "a file that arrived in pieces, to its name",
    "trainer_core/curation/journal.py": "files of a dataset, kept beside before they are replaced",
    "trainer_core/demo/assets.py": "a download, renamed to the name that its reader expects",
    "trainer_core/demo/checkpoint.py": "gigabytes, written in parts",
    "trainer_core/install/build.py": "a folder",
    "trainer_core/install/environments.py": "a folder",
    "trainer_core/install/hub_files.py": "a folder",
    "trainer_core/install/upstream.py": "a folder",
    "trainer_core/jobs/wrapper.py": "records of a process that imports nothing of Easel",
    "trainer_core/keeping/carrying.py": "the user's files and folders, where nothing has the name",
    "trainer_core/remote/runs/fetching.py": "gigabytes, written as they arrive",
    "trainer_core/keeping/moving.py": "a file, to the same letters in other case",
    "trainer_core/models/downloads/fetch.py": "gigabytes, written as they arrive",
    "trainer_core/models/downloads/part.py": "gigabytes, written as they arrive",
    "trainer_core/models/tensor_copy.py": "gigabytes, written in parts",
    "trainer_core/weights/new_folder.py": "a folder, when it is whole",
    "trainer_core/profiles/shelf.py": "a profile, out of the shelf and back",
    "trainer_core/training/delivery.py": "gigabytes, linked or copied",
    "trainer_core/training/mirror.py": "gigabytes, written in parts that a later pass continues",
    "trainer_core/training/trash.py": "a run folder, to the trash and back",
    "trainer_core/weights/writing.py": "gigabytes, written in parts",
}
"""The modules that rename files or folders into place, and what they rename."""


def ours():
    """The modules of the packages, each as its path in the checkout and its syntax tree."""
    for file in tracked("trainer_core/**.py", "trainer_ui/**.py", "backends/**.py"):
        yield str(file.relative_to(ROOT)), ast.parse(file.read_text("utf-8"))


@pytest.mark.parametrize("type_checking", [True, False])
def test_there_are_no_import_cycles(type_checking):
    assert measure_structure.cycles(measure_structure.imports(ROOT, type_checking)) == []


def test_the_core_has_few_flat_modules():
    flat = [path.name for path in (ROOT / "trainer_core").glob("*.py") if path.name != "__init__.py"]
    assert len(flat) <= 12, flat


def test_a_class_has_few_public_methods():
    tall = [name for count, name in measure_structure.public_methods(ROOT) if count > measure_structure.MOST_METHODS]
    assert tall == []


def test_the_first_line_of_each_room_says_what_is_in_it_and_what_is_not():
    for file in tracked("trainer_core/**__init__.py", "trainer_ui/**__init__.py", "backends/__init__.py"):
        first = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]
        assert re.search(r"\b(Not|not|no|nothing)\b", first), file


def test_toml_is_read_by_one_reader():
    def imports(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (each.name for each in node.names)

    found = {path for path, tree in ours() if "tomllib" in imports(tree)}
    assert found - READ_IN_MEMORY.keys() == {"trainer_core/files.py"}


def test_a_file_is_written_whole_by_one_writer():
    """Path.replace takes one argument, as Path.rename does, and str.replace takes two."""

    def renames(node):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return False
        is_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
        return node.func.attr in {"replace", "rename"} and (is_os or (len(node.args) == 1 and not node.keywords))

    found = {path for path, tree in ours() if any(map(renames, ast.walk(tree)))}
    assert found - RENAMED.keys() == {"trainer_core/files.py"}


def test_no_test_imports_from_a_test_module():
    wrong = [
        f"{file.relative_to(ROOT)}: {line}"
        for file in tracked("tests/**.py", "scripts/*.py")
        for line in file.read_text("utf-8").splitlines()
        if re.match(r"(from|import) tests\.\w+(\.test_|.* import .*\btest_)", line)
    ]
    assert wrong == []


def test_no_module_has_a_name_that_the_glossary_replaced():
    """Each of these has a standard term now: optimizer, target, dataset, schedule, relevance, companions, costs, and so on."""
    old = [
        "descent",
        "trained",
        "pictures",
        "course",
        "applies",
        "beside",
        "habits",
        "holders",
        "cheaper",
        "origins",
        "words",
    ]
    names = {
        part.removeprefix("test_") for file in tracked("*.py") for part in file.relative_to(ROOT).with_suffix("").parts
    }
    assert names.isdisjoint(old), names.intersection(old)


FORMER_KEYS = {
    "trainer_core/policies/policy.py": "former names of keys, which users' files may still contain",
    "tests/core/test_policies.py": "a user's file with the former names",
    "tests/house/test_structure.py": "this test and the one above",
}
"""The files that may contain the word, and why."""


def test_images_are_called_images():
    found = {
        str(file.relative_to(ROOT))
        for file in tracked("*.py", "*.md", "*.toml", "*.js", "*.css", "*.ipynb")
        if "tests/data" not in str(file) and "picture" in file.read_text("utf-8").lower()
    }
    assert found == FORMER_KEYS.keys()


def test_no_class_of_the_page_has_two_methods_of_one_name():
    """The later one would silently take the place of the first."""
    twice = []
    for file in tracked("trainer_ui/components/*.js"):
        of_class: dict[str, set[str]] = {}
        name = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"class (\w+)", line):
                name = found[1]
            elif line == "}":
                name = ""
            method = re.match(r"  (?:async )?(\w+)\(.*\) \{", line)
            if name and method:
                if method[1] in of_class.setdefault(name, set()):
                    twice.append((file.name, name, method[1]))
                of_class[name].add(method[1])
    assert not twice


def test_tests_that_run_an_engine_never_run_beside_each_other():
    files = [file for file in tracked("tests/backends/**.py") if "pytest.mark.backend" in file.read_text("utf-8")]
    assert len(files) > 10
    assert {_together(str(file.relative_to(ROOT)))[0] for file in files} == {"engines"}
