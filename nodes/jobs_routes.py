"""What the page asks about runs and jobs. Only POST changes anything; files are served by ComfyUI's /view.

    GET  /seedvr2/runs               → the last message of every recent run, as the event `seedvr2.run` told it
    GET  /seedvr2/jobs               → {"folder": path, "bytes": size, "jobs": [job, …]}, the last touched first
    GET  /seedvr2/jobs/NAME/prompt   → what POST /prompt takes to go on with a job
    POST /seedvr2/jobs/NAME/open     → what /view is asked for: the result, or a copy that plays
    POST /seedvr2/jobs/NAME/save     → {"path": name, "frames": count, "view": …}: the finished part as a file in output
    POST /seedvr2/jobs/NAME/delete   → {}
What is not there is answered with status 404, what cannot be done with 400, and {"error": words}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from ..engine.job import JobError
from ..media import MediaError
from . import comfy_host, job_list
from .settings_routes import body_of, guarded

GONE = {
    "prompt": "This job was made without a workflow. Run it again from its graph.",
    "open": "The result is not there any more. Run again.",
}
READERS = {"prompt": job_list.prompt_of}
CHANGERS = {"open": job_list.open_result, "save": job_list.save_part, "delete": job_list.delete}


def add_jobs_routes(routes: web.RouteTableDef) -> None:
    """Add them to a server's table."""
    routes.get("/seedvr2/runs")(guarded(runs))
    routes.get("/seedvr2/jobs")(guarded(jobs))
    for word, action in READERS.items():
        routes.get(f"/seedvr2/jobs/{{name}}/{word}")(guarded(answering(word, action)))
    for word, action in CHANGERS.items():
        routes.post(f"/seedvr2/jobs/{{name}}/{word}")(guarded(answering(word, action)))


async def runs(_request: web.Request) -> web.Response:
    return web.json_response(comfy_host.RUNS.messages())


async def jobs(_request: web.Request) -> web.Response:
    try:
        return web.json_response(await asyncio.to_thread(job_list.all_jobs))
    except JobError as error:
        return web.json_response({"error": str(error)}, status=400)


def answering(word: str, action: Callable[[str], dict | None]):
    """A handler that does something with the job a request names, on a thread of its own."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            await body_of(request)  # a foreign page cannot send JSON unasked
        try:
            found = await asyncio.to_thread(action, request.match_info["name"])
        except (JobError, MediaError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"error": GONE[word]}, status=404) if found is None else web.json_response(found)

    return answer
