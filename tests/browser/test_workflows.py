"""The bundled workflows are what the frontend saves: opened in the page, each value lands in its own widget."""

from __future__ import annotations

import json

import pytest
from seedvr2_anywhere.tools.templates import TEMPLATES, WORKFLOWS, for_scripts, name_models

from .graphs import REFRESH


@pytest.fixture(scope="module")
def models(server):
    """Files of the names that templates choose."""
    name_models(server.base / "models")


def stored(path: str) -> dict:
    """A bundled file."""
    return json.loads((WORKFLOWS / path).read_text(encoding="utf-8"))


def essence(graph: dict) -> tuple:
    """Nodes with all their values, and wires: what must survive opening and saving."""
    nodes = {node["id"]: (node["type"], node["mode"], node.get("widgets_values") or []) for node in graph["nodes"]}
    return nodes, sorted(map(tuple, (link[1:] for link in graph["links"])))


def test_each_opened_copy_of_a_workflow_is_a_graph_of_its_own(editor):
    ids = set()
    for _ in range(2):
        editor.load(stored(f"{TEMPLATES[0].title}.json"))
        ids.add(editor.workflow()["id"])
    assert len(ids) == 2


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.title)
def test_a_workflow_opens_unchanged(editor, models, template):
    graph = stored(f"{template.title}.json")
    editor.page.evaluate(REFRESH)
    editor.load(graph)
    assert editor.missing_nodes() == []
    assert essence(editor.workflow()) == essence(graph)
    prompt = for_scripts(editor.prompt())
    assert prompt == stored(f"api/{template.api_name}.json")
    for number, node in prompt.items():
        shown = editor.widgets(number)
        typed = {name: value for name, value in node["inputs"].items() if not isinstance(value, list | dict)}
        assert {name: shown[name] for name in typed} == typed
