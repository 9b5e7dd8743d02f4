"""The routes. Everything but the page itself and the way in needs a session; nothing changes the agent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge.config import DashboardSettings
from edge.dashboard import feed, views
from edge.dashboard.attacks import AttackRefused
from edge.dashboard.bench import MAX_EPSILON, Bench, why_live
from edge.dashboard.explain import Explainer
from edge.dashboard.export import NothingToExport, wfdb_zip
from edge.dashboard.guard import COOKIE, HEADERS, SESSION_S, Guard, Session
from edge.dashboard.subject import Subject
from edge.errors import EdgeError
from edge.live.signal import runs
from edge.types import Result, SampleBlock, Window

STATIC = Path(__file__).resolve().parent / "static"
MAX_BODY = 4096  # a token, or the name of an attack
MAX_SPAN_S = 3600.0

Handler = Callable[[Request, Session], Awaitable[Response]]


class Page:
    """The application and what it holds while it runs. One per dashboard, one event loop."""

    def __init__(self, settings: DashboardSettings, subject: Subject, guard: Guard) -> None:
        self._settings, self._subject, self._guard = settings, subject, guard
        self.closing = asyncio.Event()
        self._clients = 0
        # One worker each: explanations do not wait for an attack, and the pipeline for neither.
        self._worker = ThreadPoolExecutor(1, "edge-dashboard-work")
        self._attacker = ThreadPoolExecutor(1, "edge-dashboard-attack")
        self._explainer, self._bench = Explainer(), Bench(settings.compare)
        self._attacking = False
        self.app = _Hardened(
            Starlette(
                routes=[
                    Route("/", self._index),
                    Route("/api/enter", self._enter, methods=["POST"]),
                    Route("/api/leave", self._with(self._leave, acts=True), methods=["POST"]),
                    Route("/api/overview", self._with(self._overview)),
                    Route("/api/live", self._with(self._live)),
                    Route("/api/sparks", self._with(self._sparks)),
                    Route("/api/samples", self._with(self._samples)),
                    Route("/api/events", self._with(self._events)),
                    Route("/api/export", self._with(self._export)),
                    Route("/api/health", self._with(self._health)),
                    Route("/api/attack", self._with(self._attack, acts=True), methods=["POST"]),
                    Mount("/static", StaticFiles(directory=STATIC)),
                ]
            ),
            guard,
        )

    def close(self) -> None:
        """From the event loop, when the agent stops."""
        self.closing.set()
        self._bench.close()
        for worker in (self._worker, self._attacker):
            worker.shutdown(wait=False, cancel_futures=True)

    # --- the way in ---

    async def _index(self, request: Request) -> Response:
        text = (STATIC / "index.html").read_text(encoding="utf-8")
        return Response(text, media_type="text/html")

    async def _enter(self, request: Request) -> Response:
        """Who am I, and with `{"token": ...}` let me in."""
        peer, headers = _peer(request), request.headers
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _refuse(403, "asked by another site")
        session = self._guard.user(peer, headers, request.cookies)
        key = request.cookies.get(COOKIE, "")
        if session is None:
            made = self._guard.enter(peer, headers)
            if made is None and self._guard.needs_token:
                token = (await _json(request)).get("token")
                if not isinstance(token, str) or not token:
                    return _refuse(401, "this page asks for a token", wants="token")
                wait = self._guard.wait_s(peer)
                if wait:
                    return _refuse(429, f"too many wrong tokens; wait {wait} s", {"retry-after": str(wait)}, wait=wait)
                made = self._guard.log_in(peer, token[:512])
                if made is None:
                    return _refuse(401, "wrong token", wants="token")
            if made is None:
                return _refuse(401, "the reverse proxy names no user", wants="proxy")
            key, session = made
        response = JSONResponse({"user": session.user, "csrf": session.csrf, **self._hello()})
        response.set_cookie(COOKIE, key, max_age=int(SESSION_S), httponly=True, samesite="strict", path="/")
        return response

    async def _leave(self, request: Request, session: Session) -> Response:
        self._guard.log_out(session)
        response = JSONResponse({})
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    def _with(self, handler: Handler, *, acts: bool = False) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            session = self._guard.user(_peer(request), request.headers, request.cookies)
            if session is None:
                return _refuse(401, "say who you are first")
            if acts and not self._guard.may_act(session, request.headers):
                return _refuse(403, "not from our own page (CSRF token)")
            return await handler(request, session)

        return guarded

    # --- what is seen ---

    def _hello(self) -> dict[str, object]:
        manifest = self._subject.bundle().manifest
        spec = manifest.input
        return {
            "node": self._subject.node,
            "boot_id": self._subject.boot_id,
            "now": time.time(),
            "model": manifest.ref,
            "labels": list(manifest.labels),
            "units": spec.units,
            "rate_hz": spec.rate_hz,
            "window_s": spec.window_samples / spec.rate_hz,
            "hop_s": spec.hop_samples / spec.rate_hz,
            "history_s": self._settings.history_s,
            "attack": self._settings.attack,
            "attacks": self._attacks(),
            "max_epsilon": MAX_EPSILON,
            "compare": self._settings.compare,
            "recorder": self._subject.recorded is not None,
            "events": self._subject.events,
            "decision": {
                "residual": manifest.decision.suspect_residual,
                "disagreement": manifest.decision.suspect_disagreement,
            },
        }

    def _attacks(self) -> list[str]:
        return self._bench.names(self._subject.bundle()) if self._settings.attack else []

    async def _overview(self, request: Request, session: Session) -> Response:
        return self._feed(views.Overview(self._subject, self._hello()))

    async def _live(self, request: Request, session: Session) -> Response:
        name = request.query_params.get("stream", "")
        why = self._why_not(name)
        hello = {**self._hello(), "why_no_attack": why}
        return self._feed(views.Live(self._subject, name, hello, self._explain))

    def _feed(self, made: feed.Feed) -> Response:
        if self._clients >= self._settings.max_clients:
            return _refuse(503, f"{self._clients} pages are open already; close one (dashboard.max_clients)")
        return _FeedResponse(made, self)

    async def _explain(self, window: Window, result: Result) -> Mapping[str, object]:
        bundle = self._subject.bundle()
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, self._explainer.explain, bundle, window, result
        )

    async def _sparks(self, request: Request, session: Session) -> Response:
        names = [name for name in request.query_params.get("streams", "").split(",") if name]
        return JSONResponse(views.sparks(self._subject.store, names))

    async def _samples(self, request: Request, session: Session) -> Response:
        """Samples between two times, from the recorder where there is one, else from memory."""
        name, since, until = _span(request)
        blocks = await self._blocks(name, since, until)
        return JSONResponse({"segments": views.segments(blocks), "from": since, "until": until})

    async def _blocks(self, name: str, since: float, until: float) -> list[SampleBlock]:
        recorded = self._subject.recorded
        if recorded is not None:
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._worker, recorded, name, since, until)
            except EdgeError:
                found = []
            if found:
                return list(found)
        blocks = [seen.block for seen in self._subject.store.blocks(name)]
        return [b for b in blocks if b.t0 < until and b.t0 + b.values.shape[0] / b.rate_hz > since]

    async def _export(self, request: Request, session: Session) -> Response:
        name, since, until = _span(request)
        try:
            found = runs(await self._blocks(name, since, until))
            file, data = await asyncio.get_running_loop().run_in_executor(self._worker, wfdb_zip, found, name)
        except NothingToExport as error:
            return _refuse(404, str(error))
        return Response(
            data,
            media_type="application/zip",
            headers={"content-disposition": f'attachment; filename="{file}"'},
        )

    async def _events(self, request: Request, session: Session) -> Response:
        stream = request.query_params.get("stream") or None
        return JSONResponse({"events": self._subject.store.events(stream=stream), "on": self._subject.events})

    async def _health(self, request: Request, session: Session) -> Response:
        return JSONResponse(views.health_page(self._subject))

    # --- the one thing that does something ---

    def _why_not(self, name: str) -> str:
        """Why the bench is closed for a stream; "" where it is open."""
        if not self._settings.attack:
            return "the attack bench is off; start the agent with --dashboard-attack true"
        stream = self._subject.store.get(name)
        if stream is None:
            return "no such stream"
        return why_live(None if stream.origin is None else stream.origin())

    async def _attack(self, request: Request, session: Session) -> Response:
        asked = await _json(request)
        name, attack, epsilon = asked.get("stream"), asked.get("attack"), asked.get("epsilon")
        if not (isinstance(name, str) and isinstance(attack, str)) or not isinstance(epsilon, (int, float)):
            return _refuse(400, "give stream, attack and epsilon")
        white_box = asked.get("white_box") is True
        why = self._why_not(name)
        if why:
            return _refuse(403, why)
        held = self._subject.store.window(name)
        if held is None:
            return _refuse(409, "no window of this stream yet; wait for its first verdict")
        if self._attacking:
            return _refuse(429, "an attack is being worked out; try again in a moment", {"retry-after": "1"})
        self._attacking = True
        try:
            made = await asyncio.get_running_loop().run_in_executor(
                self._attacker, self._bench.run, self._subject.bundle(), *held, attack, float(epsilon), white_box
            )
        except AttackRefused as error:
            return _refuse(400, str(error))
        except EdgeError as error:
            return _refuse(409, str(error))
        finally:
            self._attacking = False
        return JSONResponse(made)


class _FeedResponse(Response):
    """A feed as a response, counted while it lasts."""

    def __init__(self, made: feed.Feed, page: Page) -> None:
        super().__init__()
        self._feed, self._page = made, page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._page._clients += 1
        try:
            await feed.serve(self._feed, receive, send, self._page.closing)
        finally:
            self._page._clients -= 1


class _Hardened:
    """In front of everything: foreign host names are refused, and each answer carries the safe headers."""

    def __init__(self, app: Any, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return

        async def harden(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        host = next((value for key, value in scope["headers"] if key == b"host"), b"").decode("latin-1")
        if not self._guard.host_is_ours(host):
            text = "this page is not served under that host name (dashboard.hosts)"
            await _refuse(421, text)(scope, receive, harden)
            return
        await self._app(scope, receive, harden)


def _refuse(code: int, text: str, headers: Mapping[str, str] | None = None, **facts: object) -> Response:
    return JSONResponse({"error": text, **facts}, status_code=code, headers=dict(headers or {}))


def _peer(request: Request) -> str:
    return request.client.host if request.client is not None else ""


async def _json(request: Request) -> dict[str, Any]:
    """The body as an object; {} for anything else or longer than MAX_BODY."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            return {}
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _span(request: Request) -> tuple[str, float, float]:
    """(stream, since, until) of a request, at most an hour; the last minutes where it does not say."""
    ask = request.query_params
    now = time.time()

    def number(key: str, default: float) -> float:
        try:
            value = float(ask.get(key, default))
        except ValueError:
            return default
        return value if 0.0 <= value <= 4e9 else default

    until = number("until", now + 60.0)
    since = max(number("since", 0.0), until - MAX_SPAN_S)
    return ask.get("stream", ""), since, until


