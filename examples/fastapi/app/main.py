"""The application: `python3 -m uvicorn app.main:app`."""

from __future__ import annotations

import os

from fastapi import FastAPI

from . import diagnostics, items, logs, streams
from .context import TenantContextMiddleware


def create_app() -> FastAPI:
    logs.configure(os.environ.get("LOG_LEVEL", "INFO").upper())
    application = FastAPI(title="Items", version="1.0.0", description="Items of many tenants, behind sluice.")
    application.add_middleware(TenantContextMiddleware)
    for router in (items.router, items.admin, streams.router, diagnostics.router):
        application.include_router(router)
    return application


app = create_app()
