"""The rooms of the pack keep their doors shut: imports point downwards only, and the core needs no ComfyUI."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOST = {"comfy", "comfy_api", "folder_paths", "server", "nodes", "execution"}
# room → rooms it may import from
ALLOWED = {"models": set(), "media": set(), "net": set(), "engine": {"models", "media", "net"}, "cloud": {"media", "net"}}
FORBIDDEN_LIBRARIES = {
    "media": {"torch"},
    "models": {"requests", "av"},
    "engine": {"requests"},
    "cloud": {"torch"},
    "net": {"torch", "av"},
}
BANNED_EVERYWHERE = {"pickle", "subprocess"}


def imports_of(file: Path) -> list[tuple[int, str]]:
    """(level, dotted name) of each import in a source file."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.level, node.module))
        if isinstance(node, ast.ImportFrom) and not node.module:
            found += [(node.level, alias.name) for alias in node.names]
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_below_it(room):
    for file in (ROOT / room).rglob("*.py"):
        depth = len(file.relative_to(ROOT).parts)
        for level, name in imports_of(file):
            top = name.split(".")[0]
            if level == 0:
                refused = HOST | BANNED_EVERYWHERE | FORBIDDEN_LIBRARIES[room]
                assert top not in refused, f"{file.relative_to(ROOT)} imports {name}"
            elif level == depth:
                assert top in ALLOWED[room], f"{file.relative_to(ROOT)} reaches into {name}"
