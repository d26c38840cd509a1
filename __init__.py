"""SeedVR2 Anywhere: restore and upscale video in ComfyUI, on this machine or through RunComfy."""

from __future__ import annotations

WEB_DIRECTORY = "js"  # served by ComfyUI; the page imports every .js of it, and .mjs when they are needed


async def comfy_entrypoint():
    """The door through which ComfyUI finds the nodes; nothing is imported before it knocks."""
    from .nodes.extension import SeedVR2Anywhere

    return SeedVR2Anywhere()
