"""What the bundled workflows consist of: nodes, wires and the few values that differ from the nodes' defaults.

tools/workflows.py has the real frontend build and save them. Users see the titles in ComfyUI's template browser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parent.parent / "workflows"
LOAD, UPSCALE, COMBINE = 33, 35, 34  # as on RunComfy's page
LOAD_TYPE, UPSCALE_TYPE = "SeedVR2Anywhere.LoadVideo", "SeedVR2Anywhere.Upscale"
COMBINE_TYPE = "SeedVR2Anywhere.VideoCombine"
NOTE = 1  # its id in every template
PAGE_ONLY = {"video-preview"}  # widgets that only show something
HUB = "https://huggingface.co"
SEEDVR2 = (
    {"name": "seedvr2_3b_fp16.safetensors", "directory": "diffusion_models",
     "url": f"{HUB}/Comfy-Org/SeedVR2/resolve/main/diffusion_models/seedvr2_3b_fp16.safetensors"},
    {"name": "seedvr2_ema_vae_fp16.safetensors", "directory": "vae",
     "url": f"{HUB}/Comfy-Org/SeedVR2/resolve/main/vae/seedvr2_ema_vae_fp16.safetensors"},
)  # fmt: skip
FILM = (
    {"name": "film_net_fp16.safetensors", "directory": "frame_interpolation",
     "url": f"{HUB}/Comfy-Org/frame_interpolation/resolve/main/frame_interpolation/film_net_fp16.safetensors"},
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One node: where it stands in the grid of the drawing, and the widgets that differ from its defaults."""

    type: str
    column: int
    widgets: Mapping[str, object] = field(default_factory=dict)
    below: bool = False  # in the second row
    models: tuple[dict[str, str], ...] = ()  # what the missing-model dialog may offer


@dataclass(frozen=True)
class Template:
    """One workflow; **wires** are (from, output name, to, input name)."""

    title: str
    note: str
    nodes: dict[int, Node]
    wires: tuple[tuple[int, str, int, str], ...]

    @property
    def api_name(self) -> str:
        """The file of its API form."""
        return API_NAMES.get(self.title, self.title.lower().replace(" ", "_"))


API_NAMES = {"Upscale on RunComfy": "hosted_upscale"}
EXAMPLE = {"video": "seedvr2_example.mp4"}
WIRES = ((LOAD, "video", UPSCALE, "source"), (UPSCALE, "upscaled", COMBINE, "video"))


def main_nodes(load: dict | None = None, upscale: dict | None = None, combine: dict | None = None) -> dict[int, Node]:
    """The three nodes, with what differs from their defaults."""
    return {
        LOAD: Node(LOAD_TYPE, 0, EXAMPLE | (load or {})),
        UPSCALE: Node(UPSCALE_TYPE, 1, upscale or {}, models=SEEDVR2),
        COMBINE: Node(COMBINE_TYPE, 2, combine or {}),
    }


TEMPLATES = (
    Template(
        "Video upscale",
        "Choose a clip in **Load Video**, set the short side of the result in **new_resolution**, press Run.\n\n"
        "**model: auto** takes the best SeedVR2 file you have, else the small built-in one. For full quality choose "
        "**seedvr2_3b_fp16.safetensors** once; it is downloaded (6.8 GB).\n\n"
        "Stopped or crashed? Run again: it goes on where it was.",
        main_nodes(),
        WIRES,
    ),
    Template(
        "Long video",
        "For films and recordings of any length.\n\n"
        "1. Type the file's place on the server in **path** (uploads have a size limit).\n"
        "2. Press Run: as **run** says, this only **estimates** time, memory and disk.\n"
        "3. Set **run** to **preview** to see two seconds from the middle.\n"
        "4. Set **run** to **whole clip**. You may stop at any time; Run continues.",
        {**main_nodes(upscale={"run": "estimate only"}, combine={"format": "MP4 (H.265)", "format.quality": "good"}),
         36: Node("PreviewAny", 1, below=True)},
        (*WIRES, (UPSCALE, "report", 36, "source")),
    ),
    Template(
        "Photo",
        "One picture in, one picture out. Type its place in **path**, or remove Load Video and Get Video Components "
        "and connect **Load Image** to **source**.\n\nAs delivered, it takes one frame of the example clip.",
        {LOAD: Node(LOAD_TYPE, 0, EXAMPLE | {"skip_first_frames": 36, "frame_load_cap": 1}),
         36: Node("GetVideoComponents", 0, below=True),
         UPSCALE: Node(UPSCALE_TYPE, 1, {"batch_size": 1}, models=SEEDVR2),
         37: Node("SaveImage", 2, {"filename_prefix": "photo_upscaled"})},
        ((LOAD, "video", 36, "video"), (36, "images", UPSCALE, "source"), (UPSCALE, "upscaled", 37, "images")),
    ),
    Template(
        "Folder of photos",
        "Type a folder in **path**; its pictures are taken in the order of their names and must have one size.\n\n"
        "**batch_size** 1 treats each picture by itself. The result is a folder of PNG files.\n\n"
        "As delivered, it takes four frames of the example clip.",
        main_nodes(load={"frame_load_cap": 4, "select_every_nth": 10}, upscale={"batch_size": 1},
                   combine={"format": "PNG sequence"}),
        WIRES,
    ),
    Template(
        "AI video",
        "Frames → upscale → frame interpolation → file with sound.\n\n"
        "For generated video connect your **VAE Decode** to **source** instead of Get Video Components. "
        "Video Combine takes the sound and the length from its **video**; without one, type the frame rate "
        "(Wan 2.2 14B: 16, doubled by interpolation: 32).\n\n"
        "The interpolation model goes into **models/frame_interpolation**.",
        {LOAD: Node(LOAD_TYPE, 0, EXAMPLE),
         36: Node("GetVideoComponents", 0, below=True),
         UPSCALE: Node(UPSCALE_TYPE, 1, models=SEEDVR2),
         37: Node("FrameInterpolationModelLoader", 1, {"model_name": FILM[0]["name"]}, below=True, models=FILM),
         38: Node("FrameInterpolate", 2, {"multiplier": 2}),
         COMBINE: Node(COMBINE_TYPE, 3)},
        ((LOAD, "video", 36, "video"), (36, "images", UPSCALE, "source"), (UPSCALE, "upscaled", 38, "images"),
         (37, "INTERP_MODEL", 38, "interp_model"), (38, "IMAGE", COMBINE, "images"), (LOAD, "video", COMBINE, "video")),
    ),
    Template(
        "Before and after",
        "Source and result play together, with a line between them that you drag. **Space** plays, **,** and **.** "
        "step a frame, the wheel zooms, **Save picture** keeps what you see.\n\n"
        "With **run** on preview, set **align** of Compare to **middle**: previews come from the middle of the clip.",
        {**main_nodes(), 36: Node("SeedVR2Anywhere.Compare", 2, below=True)},
        (*WIRES, (LOAD, "video", 36, "before"), (UPSCALE, "upscaled", 36, "after")),
    ),
    Template(
        "Upscale on RunComfy",
        "The same three nodes, computed by RunComfy. **The clip is uploaded, and each request costs money**; "
        "**spend_limit_usd** and **max_requests** stop it in time.\n\n"
        "It needs a token: set **RUNCOMFY_API_TOKEN** on the server, or enter it under Settings → SeedVR2. "
        "The values are those of RunComfy's own page.",
        main_nodes(
            {"frame_load_cap": 120},
            {"backend": "RunComfy", "new_resolution": 1080, "seed": 1245, "cfg_scale": 1.01, "batch_size": 1},
            {"frame_rate": 24},
        ),
        WIRES,
    ),
)  # fmt: skip


def name_models(folder: Path) -> None:
    """Empty files in a models folder for the weights that templates choose: the frontend takes names that are there."""
    nodes = [node for template in TEMPLATES for node in template.nodes.values()]
    for model in [model for node in nodes for model in node.models]:
        (folder / model["directory"]).mkdir(parents=True, exist_ok=True)
        (folder / model["directory"] / model["name"]).touch()


def for_scripts(prompt: dict) -> dict:
    """The API form without what only the page uses, sources first."""

    def essential(node: dict) -> dict:
        inputs = {name: value for name, value in node["inputs"].items() if name not in PAGE_ONLY}
        return {**node, "inputs": inputs, "_meta": {"title": node["_meta"]["title"]}}

    ordered = sorted(prompt, key=lambda number: (int(number) not in (LOAD, UPSCALE, COMBINE), int(number)))
    return {number: essential(prompt[number]) for number in ordered}
