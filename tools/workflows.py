"""Have the real frontend build the bundled workflows and save them, as graphs and in API form.

python tools/workflows.py           all of tools/templates.py, into workflows/ and workflows/api/
python tools/workflows.py Photo     only this one
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import comfyui
import frontend
from templates import NOTE, TEMPLATES, WORKFLOWS, Template, for_scripts, name_models

COLUMN, ROW, TOP, GAP, LEFT = 440, 720, 100, 60, 80  # pixels of the drawing
BUILD = (Path(__file__).with_name("workflows.js")).read_text(encoding="utf-8")


def main(titles: list[str]) -> None:
    """Write the files; a table's mistake ends it with the page's message."""
    wanted = [one for one in TEMPLATES if not titles or one.title in titles]
    with (
        tempfile.TemporaryDirectory() as folder,
        comfyui.running(Path(folder)) as server,
        frontend.browser() as browser,
    ):
        name_models(server.base / "models")
        for template in wanted:
            with frontend.opened(browser, server.address) as editor:
                save(template, *built(editor, template))
            print(f"{template.title}: {WORKFLOWS / template.title}.json, api/{template.api_name}.json")


def built(editor: frontend.Frontend, template: Template) -> tuple[dict, dict]:
    """(graph, API form) as the frontend saves them, nodes as tall as what they show in Nodes 2.0."""
    plan = {
        "nodes": [
            {"id": number, "type": node.type, "column": node.column, "below": node.below, "widgets": node.widgets,
             "models": list(node.models)}
            for number, node in template.nodes.items()
        ],
        "wires": [list(wire) for wire in template.wires],
        "note": {"id": NOTE, "text": template.note},
        "grid": {"column": COLUMN, "top": TOP, "row": ROW, "gap": GAP, "left": LEFT},
    }  # fmt: skip
    hidden = editor.page.evaluate(f"plan => {{ {BUILD}; return build(plan) }}", plan)
    editor.settle()
    graph = editor.workflow()
    for node in graph["nodes"]:
        node["size"][1] -= hidden.get(str(node["id"]), 0)
    return graph, editor.prompt()


def save(template: Template, graph: dict, prompt: dict) -> None:
    """Write both files."""
    extra = {key: value for key, value in graph["extra"].items() if key != "ds"}  # where the window happened to be
    del graph["id"]  # each graph opened from it gets one of its own: the page tells runs apart by it
    graph = {**graph, "extra": extra}
    for node in graph["nodes"]:
        node["properties"] |= provider(node["type"])
    (WORKFLOWS / f"{template.title}.json").write_text(text(graph), encoding="utf-8")
    (WORKFLOWS / "api" / f"{template.api_name}.json").write_text(text(for_scripts(prompt)), encoding="utf-8")


def provider(node_type: str) -> dict[str, str]:
    """What lets ComfyUI offer the pack to somebody who opens the workflow without it."""
    return {"cnr_id": comfyui.PACK} if node_type.startswith("SeedVR2Anywhere.") else {}


def text(content: dict) -> str:
    """As stored."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
