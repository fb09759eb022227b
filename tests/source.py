"""The project's own files, read as text and as syntax, for the tests that check rules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cbmir_site", "training", "retrieval", "tests", "benchmarks")


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders or PACKAGES for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path: Path) -> set[str]:
    """The dotted names that a file imports, at its top and inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join((*package, *([node.module] if node.module else [])))
            # `from retrieval import network` imports retrieval.network.
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def variables_read() -> set[str]:
    """The names of the environment variables that the site reads."""
    return {name for path in python_files("cbmir_site") for name in _variables_of(ast.parse(path.read_text()))}


def _variables_of(tree: ast.Module) -> Iterator[str]:
    """The first arguments of env("X"), env.int("X", ...) and os.environ.get("X")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if re.fullmatch(r"env(\.(bool|int|float|list|db))?|os\.environ\.get", called):
                yield node.args[0].value
