"""Take the pictures of the documentation and of ComfyUI's template browser, from the real page and a real run.

    python tools/documentation_pictures.py             all of them, into docs/pictures/ and workflows/
    python tools/documentation_pictures.py --no-run    only those that need no run: the graphs in the template browser

The run is the bundled workflow on the bundled clip with the embedded model, on this machine's processor.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import comfyui
import frontend
import pack
from PIL import Image, ImageDraw
from templates import TEMPLATES, UPSCALE, WORKFLOWS, name_models

pack.load()

from seedvr2_anywhere import media  # noqa: E402

PICTURES = comfyui.ROOT / "docs" / "pictures"
CLIP = WORKFLOWS / "seedvr2_example.mp4"
RESOLUTION = 288  # as in tools/main_job.py
WINDOW = {"width": 1500, "height": 860}
CARD = (640, 400)  # a thumbnail's size
QUALITY = 82  # of JPEG
MARGIN = 16  # pixels around a graph
FRAMES = (15, 40)  # one of each shot
SPLIT = {"Video upscale": 40, "Photo": 36, "Before and after": 15}  # template → frame on its card
QUIET = {"Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}


def main(arguments: list[str]) -> None:
    """Write all files."""
    with (
        tempfile.TemporaryDirectory() as folder,
        comfyui.running(Path(folder)) as server,
        frontend.browser() as browser,
    ):
        name_models(server.base / "models" / "unused")
        result = None if "--no-run" in arguments else picture_of_a_run(browser, server)
        name_models(server.base / "models")  # only after the run, which would choose them
        graph_cards(browser, server)
        if result:
            before_and_after(result)


def graph_cards(browser: Any, server: comfyui.Server) -> None:
    """Each template's graph as its card."""
    with frontend.opened(browser, server.address, frontend.NODES_2, WINDOW, QUIET) as editor:
        for template in TEMPLATES:
            editor.load(read(template.title))
            editor.show_all()
            card = cropped(editor)
            card.thumbnail(CARD)
            save(card, WORKFLOWS / f"{template.title}.jpg")


def picture_of_a_run(browser: Any, server: comfyui.Server) -> Path:
    """Run the main workflow from the page and take the graph with its result; returns the file."""
    graph = read("Video upscale")
    graph["nodes"] = [node for node in graph["nodes"] if node["type"] != "MarkdownNote"]
    with frontend.opened(browser, server.address, frontend.NODES_2, WINDOW, QUIET) as editor:
        editor.load(graph)
        editor.set_widget(UPSCALE, "new_resolution", RESOLUTION)
        editor.run()
        editor.settle(3000)
        editor.show_all()
        save(cropped(editor), PICTURES / "graph.jpg")
    return next((server.output / "video").glob("*.mp4"))


def before_and_after(result: Path) -> None:
    """The clip enlarged without restoring, and the result: side by side, and as cards with a dividing line."""
    before, after = frames_of(CLIP), frames_of(result)
    size = after[0].size
    pairs = {
        number: (before[number].resize(size, Image.Resampling.BICUBIC), after[number]) for number in range(len(after))
    }
    save(side_by_side([pairs[number] for number in FRAMES]), PICTURES / "before_after.jpg")
    for title, number in SPLIT.items():
        save(split(*pairs[number]), WORKFLOWS / f"{title}.jpg")


def frames_of(path: Path) -> list[Image.Image]:
    """All frames."""
    return [Image.fromarray(frame) for batch in media.read(path) for frame in batch[0]]


def side_by_side(pairs: list[tuple[Image.Image, Image.Image]], gap: int = 6) -> Image.Image:
    """One pair in a row."""
    width, height = pairs[0][0].size
    sheet = Image.new("RGB", (2 * width + gap, len(pairs) * (height + gap) - gap), "white")
    for row, pair in enumerate(pairs):
        for column, picture in enumerate(pair):
            sheet.paste(picture, (column * (width + gap), row * (height + gap)))
    return sheet


def split(before: Image.Image, after: Image.Image) -> Image.Image:
    """The left half of one, the right half of the other."""
    width, height = after.size
    joined = after.copy()
    joined.paste(before.crop((0, 0, width // 2, height)), (0, 0))
    ImageDraw.Draw(joined).line([(width // 2, 0), (width // 2, height)], "white", 3)
    return joined


def read(title: str) -> dict:
    """A template."""
    return json.loads((WORKFLOWS / f"{title}.json").read_text(encoding="utf-8"))


def cropped(editor: frontend.Frontend) -> Image.Image:
    """The graph in the window, with a margin."""
    shot = Image.open(io.BytesIO(editor.page.screenshot())).convert("RGB")
    left, top, right, bottom = editor.graph_box()
    return shot.crop((int(left) - MARGIN, int(top) - MARGIN, int(right) + MARGIN, int(bottom) + MARGIN))


def save(picture: Image.Image, path: Path) -> None:
    """As JPEG, small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=QUALITY, optimize=True)
    print(f"{path.relative_to(comfyui.ROOT)}: {picture.width} × {picture.height}, {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main(sys.argv[1:])
