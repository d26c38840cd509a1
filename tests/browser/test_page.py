"""The page of the real ComfyUI with this pack: the nodes are there in both renderers, and no other host is asked."""

from __future__ import annotations

from seedvr2_anywhere.tools import frontend

NODES = ("SeedVR2Anywhere.LoadVideo", "SeedVR2Anywhere.Upscale", "SeedVR2Anywhere.VideoCombine")
ADD = """types => types.map(type => {
    const node = LiteGraph.createNode(type)
    app.rootGraph.add(node)
    return node.id
})"""

SPARE = 40  # pixels of the drawing; one widget takes 24
ROOM_LEFT = {
    frontend.CANVAS: """id => {
        const node = app.rootGraph.getNodeById(id)
        const last = node.widgets.at(-1)
        return node.size[1] - last.y - last.computedHeight
    }""",
    # a node's least height is what litegraph counted; what is inside may need less
    frontend.NODES_2: """id => {
        const node = document.querySelector(`[data-node-id="${id}"]`)
        const before = node.offsetHeight
        const style = node.appendChild(document.createElement('style'))
        style.textContent = `[data-node-id="${id}"] { --node-height: 0px !important }`
        const after = node.offsetHeight
        style.remove()
        return before - after
    }""",
}


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


def test_a_fresh_node_is_as_tall_as_what_it_shows(editor):
    """Nodes 2.0 hides advanced widgets and the classic canvas shows them: no room is left below in either."""
    for node in editor.page.evaluate(ADD, list(NODES)):
        editor.settle()
        assert editor.page.evaluate(ROOM_LEFT[editor.renderer], node) < SPARE


def test_the_page_asks_nobody_but_the_server(editor):
    editor.page.evaluate(ADD, list(NODES))
    editor.settle()
    assert editor.requests == []
