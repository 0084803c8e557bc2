"""What a step is made of: the modules that it imports, its data files, and the versions of the libraries it uses.

The result of a step depends on nothing else of this package, so that a change of the report's words leaves every
training in the store.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import claire

ROOT = Path(claire.__file__).parent
#: Libraries that carry documents and parameters, not figures.
CARRIERS = frozenset({"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "yaml"})


@cache
def step_files(step: str) -> tuple[Path, ...]:
    """Return the files that `claire <step>` consists of: modules by their imports, and the data files beside them."""
    return _closure(step)[0]


@cache
def step_hash(step: str) -> str:
    """Return the SHA-256 of all files of a step."""
    digest = hashlib.sha256()
    for path in step_files(step):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def step_libraries(step: str) -> dict[str, str]:
    """Return the versions of the libraries that a step imports, by distribution."""
    distributions = packages_distributions()
    names = {name for each in _closure(step)[1] - CARRIERS for name in distributions.get(each, ())}
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # a namespace that nothing installed owns
            continue
    return versions


@cache
def _closure(step: str) -> tuple[tuple[Path, ...], frozenset[str]]:
    pending = [path for path in (ROOT / step).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files: set[Path] = set()
    libraries: set[str] = set()
    while pending:
        path = pending.pop()
        if path in files:
            continue
        files.add(path)
        if path.suffix != ".py":
            continue
        for name in _imports(path):
            if name.partition(".")[0] == "claire":
                pending += _modules(name)
            else:
                libraries.add(name.partition(".")[0])
    return tuple(sorted(files)), frozenset(libraries)


def _imports(path: Path) -> Iterator[str]:
    """Yield the modules that a module names in its imports; `from a import b` names a and a.b."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules(name: str) -> Iterator[Path]:
    """Yield the files of a module of this package and of the packages above it."""
    folder = ROOT
    for part in name.split(".")[1:]:
        for path in (folder / f"{part}.py", folder / part / "__init__.py"):
            if path.is_file():
                yield path
        folder = folder / part
