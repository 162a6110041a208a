"""What stays open: server-sent events and WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Header, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from .context import current

router = APIRouter(tags=["streams"])


@router.get("/events")
async def events(
    count: int = Query(10, ge=1, le=1_000_000),
    interval: float = Query(1.0, ge=0, le=60, description="Seconds between events."),
    last_event_id: int = Header(0, ge=0),
) -> StreamingResponse:
    """Numbered events; a client that comes back goes on after its Last-Event-ID."""
    context = current()

    async def stream() -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        for number in range(last_event_id + 1, count + 1):
            data = json.dumps({"number": number, **context.as_dict()})
            yield f"id: {number}\nevent: tick\ndata: {data}\n\n"
            if number < count:
                await asyncio.sleep(interval)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


@router.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    """Sends every text and binary message back."""
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        return


@router.websocket("/ws/context")
async def context_of_the_socket(websocket: WebSocket) -> None:
    """Says whose connection this is, and closes."""
    await websocket.accept()
    await websocket.send_json(current().as_dict())
    await websocket.close()
