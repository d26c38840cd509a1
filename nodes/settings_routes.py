"""Routes for the settings page: settings and RunComfy token, kept on the server. All of them also below /api.

    GET    /seedvr2/settings     → {"settings": {…}, "defaults": {…}, "token": {…}, "spent_usd": dollars in 24 hours}
    POST   /seedvr2/settings     {"in_flight": 3, …}, some or all → the same as GET
    PUT    /seedvr2/token        {"token": "…"} → {"token": {…}}
    DELETE /seedvr2/token        forgets the saved token → {"token": {…}}
    POST   /seedvr2/token/test   asks RunComfy, unpaid → {"ok": bool, "message": words, "token": {…}}

"token" is {"found": bool, "source": words, "masked": "…cdef", "saved": bool, "problem": words}; the token itself is
never sent back. Names and meaning of the settings: settings.ServerSettings. A mistake is answered with status 400 and
{"error": words}. Requests of other origins are refused with 403; bodies must be JSON and say so.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from ..cloud.errors import CloudError
from ..cloud.journal import DAY_S, Journal
from ..cloud.reach import client_for
from ..cloud.token import delete_token, find_token, save_token
from .settings import DEFAULTS, JOURNAL_FILE, TOKEN_FILE, BadSetting, load, save

LARGEST_BODY = 64 << 10
SAME_ORIGIN = ("same-origin", "none")  # Sec-Fetch-Site: the page itself, or a user's own doing

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_settings_routes(routes: web.RouteTableDef, folder: Callable[[], Path]) -> None:
    """Add them to a server's table; `folder()` is where settings, token and journal are kept."""
    desk = SettingsDesk(folder)
    routes.get("/seedvr2/settings")(guarded(desk.show))
    routes.post("/seedvr2/settings")(guarded(desk.change))
    routes.put("/seedvr2/token")(guarded(desk.take_token))
    routes.delete("/seedvr2/token")(guarded(desk.forget_token))
    routes.post("/seedvr2/token/test")(guarded(desk.test_token))


def guarded(handler: Handler) -> Handler:
    """The handler for requests of the server's own page only, with mistakes as answers; off the event loop it waits."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if not is_own_origin(request.headers.get("Origin"), request.headers.get("Host"),
                             request.headers.get("Sec-Fetch-Site")):  # fmt: skip
            return web.json_response({"error": "Requests of other pages are refused."}, status=403)
        try:
            return await handler(request)
        except (BadSetting, CloudError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except OSError as error:
            return web.json_response({"error": f"It could not be saved: {error.strerror}."}, status=500)

    return answer


def is_own_origin(origin: str | None, host: str | None, fetch_site: str | None) -> bool:
    """True for requests of the page this server sent, and for programs, which send no origin."""
    if fetch_site is not None and fetch_site not in SAME_ORIGIN:
        return False
    return origin is None or urlsplit(origin).netloc.lower() == (host or "").lower()


class SettingsDesk:
    """The handlers. Files and RunComfy are waited for on threads."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._saving = threading.Lock()

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response(await asyncio.to_thread(self._all))

    async def change(self, request: web.Request) -> web.Response:
        changes = await body_of(request)
        await asyncio.to_thread(self._save, changes)
        return web.json_response(await asyncio.to_thread(self._all))

    async def take_token(self, request: web.Request) -> web.Response:
        text = (await body_of(request)).get("token")
        if not isinstance(text, str):
            raise BadSetting("token takes one line of text.")
        await asyncio.to_thread(save_token, text, self._folder() / TOKEN_FILE)
        return await self._answer_token({})

    async def forget_token(self, request: web.Request) -> web.Response:
        await asyncio.to_thread(delete_token, self._folder() / TOKEN_FILE)
        return await self._answer_token({})

    async def test_token(self, request: web.Request) -> web.Response:
        return await self._answer_token(await asyncio.to_thread(self._tested))

    async def _answer_token(self, content: dict) -> web.Response:
        return web.json_response(content | {"token": await asyncio.to_thread(self._token_status)})

    def _all(self) -> dict:
        return {
            "settings": load(self._folder()).shown(),
            "defaults": DEFAULTS.shown(),
            "token": self._token_status(),
            "spent_usd": self._spent(),
        }

    def _save(self, changes: dict) -> None:
        with self._saving:
            save(self._folder(), load(self._folder()).changed(changes))

    def _token_status(self) -> dict:
        saved = self._folder() / TOKEN_FILE
        status = {"found": False, "source": "", "masked": "", "saved": saved.is_file(), "problem": ""}
        try:
            token = find_token(os.environ, saved, Path.home())
        except CloudError as error:
            return status | {"problem": str(error)}
        return status | {"found": True, "source": token.source, "masked": token.masked}

    def _tested(self) -> dict:
        try:
            client_for(os.environ, self._folder() / TOKEN_FILE, Path.home()).check_token()
        except CloudError as error:
            return {"ok": False, "message": str(error)}
        return {"ok": True, "message": "RunComfy accepts the token. Nothing was paid."}

    def _spent(self) -> float | None:
        file = self._folder() / JOURNAL_FILE
        try:
            return Journal(file).spent_usd(time.time() - DAY_S) if file.is_file() else 0.0
        except CloudError:
            return None


async def body_of(request: web.Request) -> dict:
    """The JSON object of a request; raises BadSetting. A foreign page cannot send this type without being asked."""
    if request.content_type != "application/json":
        raise BadSetting("The body must be JSON, with Content-Type application/json.")
    if (request.content_length or 0) > LARGEST_BODY or request.content_length is None:
        raise BadSetting(f"The body must say its length and be no longer than {LARGEST_BODY} bytes.")
    try:
        found = json.loads(await request.read())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadSetting("The body must be one JSON object.")
    return found
