"""Footage that is installed with ComfyUI: the animated WebPs of its template packages, mostly generated video."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

MEDIA_PACKAGES = ("video", "image", "api", "other", "assets_01")
FEWEST_FRAMES = 10  # shorter ones are slide shows
# frames at which a new shot or a differently edited picture begins inside a file, told by eye
CHANGES_INSIDE = {
    "api_beeble_switchx_image_edit-1": (5, 10, 15, 20),
    "api_bytedance_seedance1_5_image_to_video-1": (14,),
    "api_google_gemini_omni_flash_i2v-1": (17,),
    "api_google_nano_banana2_image_edit-1": (6, 11, 17, 22, 28),
    "api_grok_video_edit-2": (37,),
    "api_happyhorse1_0_r2v-1": (16, 29),
    "api_kling_v3_video-1": (41,),
    "api_minimax_h3_r2v-1": (20,),
    "api_seedance2_0_flf2v_real_human-1": (13, 31, 62),
    "api_seedance2_0_mini_t2v-1": (13,),
    "api_seedance2_0_r2v-1": (32, 50),
    "api_seedance2_0_t2v-1": (31, 51),
    "api_vidu_q3_image_to_video-1": (42,),
    "api_vidu_q3_text_to_video-1": (9,),
    "api_wan2_7_i2v-1": (31,),
    "api_wan2_7_r2v-1": (22, 42, 59),
    "api_wan_r2v-1": (25,),
    "hunyuan_video_text_to_video-1": (28,),
    "template_character_portrait_relighting-1": (13, 27, 40),
    "template_seedance2_0_viral_videos_character_swap-2": (28,),
    "template_seedance2_storyboard_to_video-1": (23,),
    "templates-1_input-multiple_styles_prompt.app-1": (15, 25, 40),
    "templates-portrait_light_migration-1": (8, 23, 30, 38),
    "templates_rob_realistic_2k_images_quick_variations.app-1": (10, 19, 29),
    "utility_seedvr2_3b_int8_upscale_video-1": (31,),
    "utility_seedvr2_3b_int8_upscale_video-2": (31,),
    "video_minimax_h3_i2v-1": (29,),
    "video_minimax_h3_r2v-1": (21,),
    "video_minimax_h3_t2v-1": (13, 28),
    "video_wan2_2_14B_fun_inpaint-1": (51,),
}


@functools.cache
def footage() -> dict[str, Path]:
    """Animated WebPs by name; empty where the packages are not installed."""
    found = {}
    for kind in MEDIA_PACKAGES:
        spec = importlib.util.find_spec(f"comfyui_workflow_templates_media_{kind}")
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found |= {path.stem: path for path in sorted(Path(folder).rglob("*.webp"))}
    return found


def read_footage(name: str, frames: int = 1000, width: int = 128) -> np.ndarray:
    """The first frames of one file made small, [T,H,W,3] uint8."""
    pictures = []
    with Image.open(footage()[name]) as file:
        for picture in ImageSequence.Iterator(file):
            small = picture.convert("RGB")
            small.thumbnail((width, width))
            pictures.append(np.asarray(small))
            if len(pictures) == frames:
                break
    return np.stack(pictures)
