"""What the page asks about runs and jobs. Only POST changes anything; no answer holds a path outside the job folder."""

from __future__ import annotations

from aiohttp import web

from . import comfy_host
from .settings_routes import guarded


def add_jobs_routes(routes: web.RouteTableDef) -> None:
    """Add them to a server's table."""
    routes.get("/seedvr2/runs")(guarded(runs))


async def runs(_request: web.Request) -> web.Response:
    """The last status of every recent run, as the event `seedvr2.run` told it."""
    return web.json_response(comfy_host.RUNS.messages())
