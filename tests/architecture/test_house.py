"""The house is built as drawn: imports run one way, every file is one idea with a word about itself, and the README
draws the tree that is there.

The README's tree is the fenced block after the heading ``## The tree``. A line is one folder (its name ends in ``/``)
or one file, indented by two spaces a level, then two spaces or more and a comment where there is something to say.
All top-level folders are drawn; a folder whose content is drawn at all is drawn in full, ``__init__.py`` and
``py.typed`` left out; of files at the top only those that are worth a line.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "training", "exporters", "service", "learner", "console", "lepton")
FOLDERS = (*PACKAGES, "benchmarks", "tests")
LONGEST = 400
UNDRAWN = {"__init__.py", "py.typed"}
TOOLS = {"torch", "torchvision", "timm", "transformers", "onnx", "onnxscript", "sklearn", "cleanlab", "pyarrow"}
HEAVY = TOOLS | {"training", "exporters"}
WEB = {"bentoml", "fastapi", "starlette", "nicegui"}
FORBIDDEN = {
    "core": HEAVY | WEB,
    "learner": HEAVY | WEB | {"service"},
    "service": HEAVY | {"learner"},
    "console": HEAVY | {"bentoml", "service", "learner"},
}

# Migrations are scripts that Alembic runs, not modules that anybody imports.
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.startswith("core.migrations."):
        importlib.import_module(module.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def sources() -> list[str]:
    found = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py") if "__pycache__" not in file.parts]
    return sorted(str(file.relative_to(ROOT)) for file in found)


@cache
def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


def test_imports_run_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_what_serves_and_what_learns_runs_without_the_training_tools(package: str) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, package]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert package in answer.stdout.split()
    assert set(answer.stdout.split()) & FORBIDDEN[package] == set()


def test_there_are_sources_in_every_folder() -> None:
    assert {path.split("/")[0] for path in sources()} == set(FOLDERS)


@pytest.mark.parametrize("path", sources())
def test_every_module_says_what_it_is(path: str) -> None:
    assert ast.get_docstring(parsed(path)), f"{path} has no docstring"


@pytest.mark.parametrize("path", [path for path in sources() if path.endswith("__init__.py")])
def test_a_package_holds_a_docstring_and_nothing_else(path: str) -> None:
    assert len(parsed(path).body) == 1


@pytest.mark.parametrize("path", sources())
def test_no_file_is_longer_than_one_idea(path: str) -> None:
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", sources())
def test_no_module_keeps_a_list_of_its_names(path: str) -> None:
    names = {node.id for node in ast.walk(parsed(path)) if isinstance(node, ast.Name)}
    assert "__all__" not in names


@pytest.mark.parametrize("path", [path for path in sources() if path.startswith("tests/")])
def test_no_test_sleeps_or_patches(path: str) -> None:
    called = {name for node in ast.walk(parsed(path)) if isinstance(node, ast.Call) for name in called_by(node)}
    imported = {node.module for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(parsed(path)) if isinstance(node, ast.Import) for name in node.names}
    assert "sleep" not in called and "unittest.mock" not in imported


def called_by(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Attribute):
        yield node.func.attr
    elif isinstance(node.func, ast.Name):
        yield node.func.id


def drawn(readme: str) -> dict[str, set[str]]:
    """Folder (``""`` is the top) → names drawn in it, folders with their stroke."""
    block = re.search(r"^## The tree\n.*?^```[a-z]*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert block is not None, "README.md has no fenced block after the heading '## The tree'"
    tree: dict[str, set[str]] = {"": set()}
    above: list[str] = []
    for line in block[1].splitlines():
        if not line.strip():
            continue
        name = re.split(r"\s{2,}", line.strip())[0]
        depth, rest = divmod(len(line) - len(line.lstrip(" ")), 2)
        assert rest == 0 and depth <= len(above), f"{line!r} is not indented by two spaces a level"
        above = above[:depth]
        parent = "".join(above)
        assert name not in tree.setdefault(parent, set()), f"{parent}{name} is drawn twice"
        tree[parent].add(name)
        if name.endswith("/"):
            above.append(name)
    return tree


@cache
def real() -> dict[str, set[str]]:
    """The same of what git keeps, or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    tree: dict[str, set[str]] = {}
    for path in listed:
        if not (ROOT / path).exists() or path.startswith("."):
            continue
        parts = path.split("/")
        for depth in range(len(parts)):
            name = parts[depth] if depth == len(parts) - 1 else parts[depth] + "/"
            tree.setdefault("".join(part + "/" for part in parts[:depth]), set()).add(name)
    return {folder: names - UNDRAWN for folder, names in tree.items()}


def test_the_readme_draws_the_tree_that_is_there() -> None:
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.skip("there is no README.md yet")
    tree, there = drawn(readme.read_text(encoding="utf-8")), real()
    assert {name for name in there[""] if name.endswith("/")} <= tree[""], "a top-level folder is not drawn"
    assert tree[""] <= there[""], "something is drawn at the top that is not there"
    for folder, names in tree.items():
        if folder:
            assert names == there.get(folder), f"{folder} is not drawn as it is"


def test_a_drawn_tree_is_read_with_its_levels() -> None:
    readme = "# X\n\n## The tree\n\nWords.\n\n```text\ncore/   the core\n  a.py  one\n  b/\n    c.py\nLICENSE\n```\n"
    assert drawn(readme) == {"": {"core/", "LICENSE"}, "core/": {"a.py", "b/"}, "core/b/": {"c.py"}}
