"""Endpoints that misbehave on purpose, and some that tell what arrived.

They are how the gateway's time-outs, retries, limits and headers are tried out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .context import current

router = APIRouter(tags=["diagnostics"])

CHUNK = bytes(range(256)) * 256  # 64 KiB
CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/public/info")
async def info() -> dict[str, Any]:
    return {"service": "items", "context": current().as_dict()}


@router.get("/slow")
async def slow(seconds: float = Query(1.0, ge=0, le=300)) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@router.get("/fail")
@router.post("/fail")
@router.put("/fail")
@router.delete("/fail")
async def fail(status: int = Query(500, ge=400, le=599)) -> JSONResponse:
    return JSONResponse(
        {"detail": f"Failed with {status}, as asked.", "request_id": current().request_id}, status_code=status
    )


class BrokenResponse(Response):
    """Announces twice as many bytes as it sends, and then leaves.

    The server closes a connection whose response was not finished.
    """

    def __init__(self, size: int) -> None:
        super().__init__(media_type="application/octet-stream")
        self.size = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", str(2 * self.size).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self.size, "more_body": True})


@router.get("/fail/reset")
async def fail_amid_the_body(size: int = Query(1024, ge=1, le=1 << 20)) -> Response:
    return BrokenResponse(size)


@router.post("/upload")
@router.put("/upload")
async def upload(request: Request) -> dict[str, int | str]:
    """Counts a body of any size without holding it."""
    size, digest = 0, hashlib.sha256()
    async for chunk in request.stream():
        size += len(chunk)
        digest.update(chunk)
    return {"bytes": size, "sha256": digest.hexdigest()}


@router.get("/download")
async def download(size: int = Query(1024, ge=0, le=1 << 30)) -> StreamingResponse:
    """Bytes 0 to 255 over and over."""

    def chunks() -> Iterator[bytes]:
        for sent in range(0, size, len(CHUNK)):
            yield CHUNK[: size - sent]

    return StreamingResponse(
        chunks(), media_type="application/octet-stream", headers={"Content-Length": str(size)}
    )


@router.get("/echo")
@router.post("/echo")
@router.put("/echo")
@router.patch("/echo")
@router.delete("/echo")
async def echo(request: Request) -> dict[str, Any]:
    """The request as it arrived; credentials are only said to be there."""
    return {
        "method": request.method,
        "path": request.url.path,
        "root_path": request.scope.get("root_path", ""),
        "query": request.url.query,
        "scheme": request.url.scheme,
        "client": request.client.host if request.client else None,
        "http_version": request.scope["http_version"],
        "headers": [
            [name, "(present)" if name in CREDENTIALS else value] for name, value in request.headers.items()
        ],
        "context": current().as_dict(),
    }
