"""What happens to people: a node taken from the search, Run pressed twice, old workflows, subgraphs, tabs."""

from __future__ import annotations

from playwright.sync_api import expect

from .graphs import EMBEDDED, JOBS, TIME_MS, UPSCALE, expect_reached_by_tab, expect_state, load, main_job, press_run

SLOW = {"new_resolution": 720}
# as saved by a version that had fewer widgets
OLD = {
    "id": "5b1f4cd5-5f63-4b3c-8a55-3f6f3f1f8f11", "revision": 0,
    "last_node_id": 35, "last_link_id": 0, "links": [], "groups": [], "config": {}, "extra": {}, "version": 0.4,
    "nodes": [{"id": 35, "type": "SeedVR2Anywhere.Upscale", "pos": [100, 100], "size": [300, 300], "flags": {},
               "order": 0, "mode": 0, "properties": {}, "widgets_values": [720, 7, "fixed", "preview", "local"],
               "inputs": [{"name": "source", "type": "VIDEO,IMAGE", "link": None}],
               "outputs": [{"name": "upscaled", "type": "VIDEO,IMAGE", "links": None}]}],
}  # fmt: skip
INTO_SUBGRAPH = """id => {
    const { node } = app.rootGraph.convertToSubgraph(new Set([app.rootGraph.getNodeById(id)]))
    return String(node.id)
}"""


def test_a_node_from_the_search_has_its_seed_fixed_and_run_twice_reuses_everything(editor, server):
    page = editor.page
    page.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    page.keyboard.type("SeedVR2 Upscale", delay=20)
    editor.settle(1500)
    page.keyboard.press("Enter")
    editor.settle()
    page.mouse.click(500, 400)
    page.wait_for_function("() => app.rootGraph.nodes.length === 1")
    fresh = page.evaluate("() => app.rootGraph.nodes[0].id")
    widgets = editor.widgets(fresh)
    assert widgets["seed"] == 1245
    assert "fixed" in page.evaluate("() => app.rootGraph.nodes[0].serialize().widgets_values")
    page.evaluate(
        """([id, model]) => {
            const upscale = app.rootGraph.getNodeById(id)
            const make = type => LiteGraph.createNode('SeedVR2Anywhere.' + type)
            const [load, combine] = [make('LoadVideo'), make('VideoCombine')]
            for (const node of [load, combine]) app.rootGraph.add(node)
            load.connect(0, upscale, 0)
            upscale.connect(0, combine, 0)
            const set = (node, name, value) => { node.widgets.find(one => one.name === name).value = value }
            set(load, 'video', 'clip.mp4')
            set(upscale, 'new_resolution', 48)
            set(upscale, 'backend.model', model)
        }""",
        [fresh, EMBEDDED],
    )
    first = editor.prompt()[str(fresh)]
    editor.run()
    jobs = {job["name"]: job["frames"] for job in server.get("/seedvr2/jobs")["jobs"]}
    editor.run()
    assert editor.prompt()[str(fresh)] == first
    assert {job["name"]: job["frames"] for job in server.get("/seedvr2/jobs")["jobs"]} == jobs


def test_a_workflow_of_an_older_version_keeps_its_values_and_gets_the_new_widgets(editor):
    editor.load(OLD)
    shown = editor.widgets(35)
    assert (shown["new_resolution"], shown["seed"], shown["run"]) == (720, 7, "preview")
    assert (shown["strength"], shown["color_correction"], shown["cfg_scale"]) == (1, "two_scale", 1)
    assert editor.page.locator(".run").count() == 0


def test_a_node_in_a_subgraph_shows_its_run_where_it_is(editor):
    load(editor, main_job(seed=80 + len(editor.renderer)))
    outer = editor.page.evaluate(INTO_SUBGRAPH, UPSCALE)
    editor.run()
    editor.page.evaluate("id => app.canvas.openSubgraph(app.rootGraph.getNodeById(id).subgraph)", outer)
    editor.settle(1000)
    expect(editor.page.locator(".run")).to_contain_text("Done", timeout=TIME_MS)
    assert editor.page.evaluate("() => app.canvas.graph !== app.rootGraph")


def test_a_second_tab_sees_the_same_run_and_the_same_jobs(tabs):
    one, other = tabs
    load(one, main_job(seed=90, **SLOW))
    other.load(one.workflow())
    other.page.evaluate(JOBS)
    press_run(one)
    expect_state(tabs, "running")
    card = other.page.locator(".jobs li").first
    card.get_by_role("button", name="Cancel").click(timeout=TIME_MS)
    expect_state(tabs, "stopped")


def test_everything_on_node_and_panel_is_reached_and_named_for_the_keyboard(editor, server):
    load(editor, main_job(seed=95 + len(editor.renderer)))
    page = editor.page
    press_run(editor)
    expect(page.locator(".run .state.done")).to_be_visible(timeout=TIME_MS)
    page.evaluate(JOBS)
    expect(page.locator(".jobs li").first).to_contain_text("Done")
    names = expect_reached_by_tab(page, ".jobs")
    assert {"Open result: clip.mp4", "Delete: clip.mp4"} <= set(names)
    expect(page.get_by_role("group", name="Live run")).to_be_visible()
