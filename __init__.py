"""SeedVR2 Anywhere: restore and upscale video in ComfyUI, on this machine or through RunComfy."""

from __future__ import annotations


async def comfy_entrypoint():
    """The door through which ComfyUI finds the nodes; nothing is imported before it knocks."""
    from .nodes.extension import SeedVR2Anywhere

    return SeedVR2Anywhere()
