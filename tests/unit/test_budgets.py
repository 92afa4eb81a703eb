"""Files and functions stay short enough to be read in one sitting."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
FILES = sorted(
    path
    for room in ("controller", "tests", "manifests")
    for path in (ROOT / room).rglob("*.py")
    if "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_a_file_and_its_functions_keep_the_budget(path: Path) -> None:
    """At most 500 lines a file and 60 a function, from its first decorator to its last line."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    too_long = {
        f"{node.name} (line {node.lineno})": length
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (length := _lines(node)) > MAX_FUNCTION_LINES
    }
    assert not too_long


def test_the_budget_counts_decorators_and_nested_functions() -> None:
    """The yardstick itself: three lines of decorator, signature and body are three."""
    (node,) = ast.parse("@staticmethod\ndef f() -> None:\n    pass\n").body
    assert isinstance(node, ast.FunctionDef)
    assert _lines(node) == 3


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return (node.end_lineno or node.lineno) - first + 1
