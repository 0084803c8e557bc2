"""YAML files written by people: grids and job files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from claire.core.command.errors import UsageError

#: Far above any grid or job; aliases can expand a few lines to billions of values.
MOST_NODES = 100_000


class _Loader(yaml.SafeLoader):
    """Refuses a duplicate key, of which YAML would silently keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: list[object] = []
        for key, _ in node.value:
            if key.value in keys:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' is a duplicate", key.start_mark)
            keys.append(key.value)
        return super().construct_mapping(node, deep)


def read_yaml_mapping(path: Path, remedy: str) -> dict[str, Any]:
    """Return the mapping of keys that a YAML (or JSON) file holds.

    Raises UsageError, naming the file and, if known, the line, on text that is not YAML, a duplicate key,
    aliases that expand to more than `MOST_NODES` values, and on anything but a mapping; `remedy` says what to give.
    """
    try:
        text = path.read_bytes()
        _refuse_bombs(path.name, yaml.compose(text, _Loader))
        values = yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path.name}{line}: {error.problem}", "Correct the YAML.") from error
    except RecursionError as error:
        raise UsageError(
            f"{path.name} is nested too deeply: expected at most five levels", "Correct the YAML."
        ) from error
    except (yaml.YAMLError, ValueError) as error:  # also bytes that are not UTF-8, and values that cannot be
        raise UsageError(f"{path.name} is not YAML text", remedy) from error
    if not isinstance(values, dict):
        raise UsageError(f"{path.name} is empty or not a mapping of keys", remedy)
    return values


def _refuse_bombs(name: str, root: yaml.Node | None) -> None:
    """Raise UsageError if aliases (`*name`) expand a few lines to more than `MOST_NODES` values."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = 1  # for a node within itself
            items = node.value if isinstance(node, yaml.CollectionNode) else []
            children = [child for item in items for child in (item if isinstance(item, tuple) else (item,))]
            sizes[id(node)] = 1 + sum(map(size, children))
        return sizes[id(node)]

    if root is not None and size(root) > MOST_NODES:
        raise UsageError(f"{name} expands to more than {MOST_NODES} values", "Use fewer aliases, or split the file.")
