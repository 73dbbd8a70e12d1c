"""Rules that keep the code easy to find your way in: unique names, short files and functions, no import cycles."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE, LONGEST_FUNCTION, MOST_PARAMETERS = 450, 60, 6


def sources(*folders: str) -> list[Path]:
    """Python files below `folders`, without those that are reached through the links in authorid/."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    links = ((ROOT / "authorid" / "export"), (ROOT / "authorid" / "models"))
    return sorted(path for path in files if not any(path.is_relative_to(link) for link in links))


DISTRIBUTION = sources("authorid", "export", "models")
FILES = [*DISTRIBUTION, *sources("bench")]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] in ("authorid", "bench") else ("authorid", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_two_modules_have_the_same_name():
    names = Counter(path.stem for path in DISTRIBUTION if not path.stem.startswith("__"))
    assert [stem for stem, count in names.items() if count > 1] == []


def test_no_two_classes_have_the_same_name():
    trees = [ast.parse(path.read_text("utf-8")) for path in DISTRIBUTION]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [class_name for class_name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_short(path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and not is_command(node):
            own = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = [parameter for parameter in own if parameter.arg not in ("self", "cls")]
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name
            assert len(parameters) <= MOST_PARAMETERS, node.name


def is_command(node: ast.FunctionDef) -> bool:
    """Whether Click passes the parameters: one for each option."""
    return any(
        "click" in ast.unparse(decorator) or "option" in ast.unparse(decorator) for decorator in node.decorator_list
    )


def imports(path: Path, known: set[str]) -> Iterator[str]:
    """The modules that are imported when `path` is: neither in functions nor for types only."""
    body = list(ast.parse(path.read_text("utf-8")).body)
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


def test_no_module_imports_itself_through_others():
    modules = {module_name(path): path for path in FILES}
    graph = {
        module: {found for found in imports(path, set(modules)) if found in modules} for module, path in modules.items()
    }
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError
