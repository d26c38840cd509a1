"""The page of the real ComfyUI with this pack: the nodes are there in both renderers, and no other host is asked."""

from __future__ import annotations

NODES = ("SeedVR2Anywhere.LoadVideo", "SeedVR2Anywhere.Upscale", "SeedVR2Anywhere.VideoCombine")
ADD = """types => types.map(type => {
    const node = LiteGraph.createNode(type)
    app.rootGraph.add(node)
    return node.id
})"""


def test_the_nodes_can_be_added_and_show_their_defaults(editor):
    load, upscale, combine = editor.page.evaluate(ADD, list(NODES))
    assert editor.missing_nodes() == []
    assert editor.widgets(load)["frame_load_cap"] == 0
    shown = editor.widgets(upscale)
    assert (shown["new_resolution"], shown["backend"], shown["backend.model"]) == (1080, "local", "auto")
    assert editor.widgets(combine)["format"] == "MP4 (H.264)"


def test_a_choice_shows_its_own_widgets(editor):
    (upscale,) = editor.page.evaluate(ADD, [NODES[1]])
    editor.set_widget(upscale, "backend", "RunComfy")
    shown = editor.widgets(upscale)
    assert "backend.spend_limit_usd" in shown
    assert "backend.model" not in shown


def test_the_page_asks_nobody_but_the_server(editor):
    editor.page.evaluate(ADD, list(NODES))
    editor.settle()
    assert editor.requests == []
