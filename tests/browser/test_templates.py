"""The bundled workflows as people meet them: chosen in the template browser, run, and their result plays.

"Upscale on RunComfy" is in test_runcomfy.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from seedvr2_anywhere.tools.frontend import Frontend
from seedvr2_anywhere.tools.templates import FILM, LOAD, UPSCALE

from .graphs import EMBEDDED, REFRESH, TIME_MS, choose_template, expect_result_plays, press_run, wait_for

SMALL = {UPSCALE: {"new_resolution": 96, "backend.model": EMBEDDED}}
SHORT = {LOAD: {"frame_load_cap": 9}}
WHOLE = {UPSCALE: SMALL[UPSCALE] | {"run": "whole clip"}}
COMPARED_PLAY = """async () => {
    const roots = [...document.querySelectorAll('.seedvr2')].map(one => one.shadowRoot)
    const films = [...roots.find(one => one.querySelector('.compare')).querySelectorAll('video')]
    const before = films.map(one => one.currentTime)
    await new Promise(done => setTimeout(done, 200))
    return films.length === 2 && films.every((one, number) => one.currentTime !== before[number])
}"""
# of the classic canvas and of Nodes 2.0
PICTURE_SHOWN = """() => app.rootGraph.nodes.some(node => node.imgs?.some(one => one.naturalWidth))
    || [...document.querySelectorAll('img')].some(one => one.src.includes('/view') && one.naturalWidth)"""
HEAD, BLOCKS, WIDTH = 16, 5, 4  # of the interpolation network RIFE, made as narrow as it can be


def expect_picture(editor: Frontend) -> None:
    """A node shows the result."""
    editor.page.wait_for_function(PICTURE_SHOWN, timeout=TIME_MS)


def expect_comparison_plays(editor: Frontend) -> None:
    """The result plays at a click, source and result in Compare by themselves."""
    expect_result_plays(editor)
    wait_for(lambda: editor.page.evaluate(COMPARED_PLAY))


# title → values that make it quick, and what shows the result
CASES = {
    "Video upscale": (SMALL | SHORT, expect_result_plays),
    "Long video": (WHOLE | SHORT, expect_result_plays),
    "Before and after": (SMALL | SHORT, expect_comparison_plays),
    "Photo": (SMALL, expect_picture),
    "Folder of photos": (SMALL, expect_picture),
    "AI video": (SMALL | SHORT, expect_result_plays),
}


def write_interpolation(path: Path) -> None:
    """A network of zeros in the place of FILM, which is not there to be fetched: no motion, the mean of two frames."""
    layers = {"encode.cnn0": (HEAD, 3, 3, 3), "encode.cnn1": (HEAD, HEAD, 3, 3), "encode.cnn2": (HEAD, HEAD, 3, 3)}
    turned = {"encode.cnn3": (HEAD, 4, 4, 4)}
    for number in range(BLOCKS):
        name = f"blocks.{number}"
        layers[f"{name}.conv0.0.0"] = (WIDTH // 2, 28 if number else 15, 3, 3)
        layers[f"{name}.conv0.1.0"] = (WIDTH, WIDTH // 2, 3, 3)
        layers |= {f"{name}.convblock.{one}.conv": (WIDTH, WIDTH, 3, 3) for one in range(8)}
        turned[f"{name}.lastconv.0"] = (WIDTH, 52, 4, 4)
    state = {f"{name}.weight": torch.zeros(shape) for name, shape in (layers | turned).items()}
    state |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in layers.items()}
    state |= {f"{name}.bias": torch.zeros(shape[1]) for name, shape in turned.items()}
    state |= {f"blocks.{number}.convblock.{one}.beta": torch.zeros(1, WIDTH, 1, 1)
              for number in range(BLOCKS) for one in range(8)}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)


@pytest.fixture(scope="module")
def interpolation(server):
    """The model file that one of the templates names."""
    write_interpolation(server.base / "models" / FILM[0]["directory"] / FILM[0]["name"])


@pytest.mark.parametrize("title", CASES)
def test_a_template_is_chosen_run_and_its_result_seen(editor, interpolation, title):
    values, expect_result = CASES[title]
    editor.page.evaluate(REFRESH)
    choose_template(editor, title)
    for node, widgets in values.items():
        for name, value in widgets.items():
            editor.set_widget(node, name, value)
    press_run(editor)
    expect_result(editor)
