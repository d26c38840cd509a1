"""A custom node pack without nodes: the tests change the environment of a server that runs, where a start takes long.

POST /environment_probe {"NAME": "value", …} sets variables, null takes them away; → what they were, for the way back.
"""

import os

from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict = {}


@PromptServer.instance.routes.post("/environment_probe")
async def change(request: web.Request) -> web.Response:
    """Change the variables that are named."""
    wanted = await request.json()
    before = {name: os.environ.get(name) for name in wanted}
    for name, value in wanted.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    return web.json_response(before)
