"""The nodes, as one extension."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import comfy_host
from .combine_video import VideoCombine
from .compare import Compare
from .jobs_routes import add_jobs_routes
from .load_video import LoadVideo
from .settings_routes import add_settings_routes
from .upscale import Upscale


class SeedVR2Anywhere(ComfyExtension):
    """What ComfyUI loads."""

    async def on_load(self) -> None:
        comfy_host.register_model_folder()
        comfy_host.offer_example()
        comfy_host.add_routes(lambda routes: add_settings_routes(routes, comfy_host.cache_folder))
        comfy_host.add_routes(add_jobs_routes)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LoadVideo, Upscale, VideoCombine, Compare]
