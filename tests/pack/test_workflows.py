"""The bundled workflows run in the real ComfyUI, small, and every template names the example clip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tools.comfyui import COMFYUI
from seedvr2_anywhere.tools.templates import FILM, TEMPLATES, WORKFLOWS

SECONDS = 240  # a limit for hangs, not a measure
SMALL = {"33": {"frame_load_cap": 3}, "35": {"new_resolution": 36, "backend.model": "embedded (small, built in)"}}
RUN_ALL = {"35": {"run": "whole clip"}}
INTERPOLATOR = """
import sys
import comfy.options
comfy.options.enable_args_parsing(False)
from comfy.cli_args import args
args.cpu = True
import torch
from safetensors.torch import save_file
from comfy_extras.frame_interpolation_models.ifnet import IFNet
state = IFNet(head_ch=4, channels=(16,) * 5).state_dict()
save_file({key: torch.zeros(value.shape) for key, value in state.items()}, FILE)
"""
# name → (what else is changed, frames, width, height, sound tracks) of the file Video Combine saves
FILES = {
    "video_upscale": ({}, 3, 64, 36, 1),
    "long_video": (RUN_ALL, 3, 64, 36, 1),
    "folder_of_photos": ({}, 3, 64, 36, 0),
    "ai_video": ({}, 5, 64, 36, 1),
    "before_and_after": ({}, 3, 64, 36, 1),
}


@pytest.fixture(scope="module")
def interpolator(server):
    """Core's frame interpolation with all weights zero: it answers with the mean of its neighbours."""
    file = server.base / "models" / FILM[0]["directory"] / FILM[0]["name"]
    file.parent.mkdir(parents=True, exist_ok=True)
    script = INTERPOLATOR.replace("FILE", repr(str(file)))
    subprocess.run([sys.executable, "-c", script], cwd=COMFYUI, env={**os.environ, "PYTHONPATH": "."}, check=True)


def api_form(name: str, *changes: dict) -> dict:
    """A workflow for scripts, with some inputs changed."""
    prompt = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    for node, inputs in [pair for change in changes for pair in change.items()]:
        prompt[node]["inputs"] |= inputs
    return prompt


def run(server, prompt: dict) -> dict:
    """The outputs of a run that must succeed."""
    entry = server.run(prompt, SECONDS)
    assert entry["status"]["status_str"] == "success", entry["status"]
    return entry["outputs"]


def only_file(folder: Path, pattern: str) -> Path:
    """The one file a run has made."""
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_workflow_makes_its_file(server, interpolator, name):
    change, frames, width, height, tracks = FILES[name]
    run(server, api_form(name, SMALL, change, {"34": {"filename_prefix": name}}))
    info = media.probe(only_file(server.output, f"{name}_00001_*"))
    assert (media.count_frames(info.path), info.size, len(info.audio)) == (frames, (width, height), tracks)


def test_the_photo_becomes_a_picture(server):
    run(server, api_form("photo", {"35": SMALL["35"]}))
    assert media.probe(only_file(server.output, "photo_upscaled_*.png")).size == (64, 36)


def test_a_long_video_is_first_estimated_only(server):
    prompt = api_form("long_video", {"35": SMALL["35"]}, {"34": {"filename_prefix": "not_made"}})
    assert "48 frames" in json.dumps(run(server, prompt)["36"])
    assert list(server.output.glob("not_made*")) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.title)
def test_a_template_is_complete(server, template):
    graph = json.loads((WORKFLOWS / f"{template.title}.json").read_text(encoding="utf-8"))
    values = {node["id"]: node.get("widgets_values", []) for node in graph["nodes"]}
    assert values[33][0] == "seedvr2_example.mp4"
    assert (server.input / values[33][0]).is_file()
    models = [model for node in graph["nodes"] for model in node["properties"].get("models", [])]
    assert all(
        model.keys() == {"name", "url", "directory"} and model["url"].endswith(model["name"]) for model in models
    )
    assert models


def test_the_template_browser_lists_all_with_pictures(server):
    assert sorted(server.get("/workflow_templates")["seedvr2-anywhere"]) == sorted(one.title for one in TEMPLATES)
    for template in TEMPLATES:
        address = f"{server.address}/api/workflow_templates/seedvr2-anywhere/{quote(template.title)}.jpg"
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:
            assert answer.headers["Content-Type"] == "image/jpeg"


def test_only_the_hosted_workflow_has_hosted_values():
    hosted = api_form("hosted_upscale")
    found = {"cap": hosted["33"]["inputs"]["frame_load_cap"], "rate": hosted["34"]["inputs"]["frame_rate"]}
    found |= {key: hosted["35"]["inputs"][key] for key in ("new_resolution", "seed", "cfg_scale", "batch_size")}
    assert found == {"cap": 120, "rate": 24, "new_resolution": 1080, "seed": 1245, "cfg_scale": 1.01, "batch_size": 1}
    for template in TEMPLATES:
        if template.api_name != "hosted_upscale":
            assert api_form(template.api_name)["35"]["inputs"]["cfg_scale"] == 1
