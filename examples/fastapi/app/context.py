"""Whose request this is.

sluice removes these headers from what clients send and writes them anew, so
that they can be believed, as long as nobody but the gateway reaches this port.
"""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from dataclasses import asdict, dataclass

from fastapi import HTTPException, status
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("app.access")


@dataclass(frozen=True)
class TenantContext:
    """What the gateway found out about the caller; None where it does not apply."""

    tenant: str | None = None
    tier: str | None = None
    subject: str | None = None
    request_id: str | None = None

    @classmethod
    def from_headers(cls, headers: Headers) -> TenantContext:
        return cls(
            tenant=headers.get("x-tenant-id"),
            tier=headers.get("x-tenant-tier"),
            subject=headers.get("x-auth-subject"),
            request_id=headers.get("x-request-id"),
        )

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)


_current: ContextVar[TenantContext] = ContextVar("tenant_context", default=TenantContext())


def current() -> TenantContext:
    """The context of the request that the running task serves."""
    return _current.get()


def require_tenant() -> str:
    """Dependency: the tenant, or 403 for a request that has none.

    A route without `auth: none` cannot get here without one, unless the token
    itself names no tenant.
    """
    tenant = current().tenant
    if tenant is None:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This resource belongs to tenants.")
    return tenant


class TenantContextMiddleware:
    """Sets the context for HTTP and WebSocket, and the root path.

    Plain ASGI rather than BaseHTTPMiddleware: that one runs the application in
    another task and stands between streams and their client.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        headers = Headers(scope=scope)
        # The prefix that the gateway took off, so that links, redirects and
        # the documentation point back through it.
        if prefix := headers.get("x-forwarded-prefix"):
            scope = {**scope, "root_path": prefix.rstrip("/")}

        token = _current.set(TenantContext.from_headers(headers))
        started = time.perf_counter()
        outcome: int | str = "closed"

        async def observe(message: Message) -> None:
            nonlocal outcome
            if message["type"] == "http.response.start":
                outcome = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, observe)
        finally:
            log.info(
                "%s %s %s %.1fms",
                scope.get("method", "WEBSOCKET"),
                scope["path"],
                outcome,
                (time.perf_counter() - started) * 1000,
            )
            _current.reset(token)
