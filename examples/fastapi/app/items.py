"""Items: each tenant sees its own and no others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import count

from fastapi import APIRouter, Depends, HTTPException, Query, Response, status
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from .context import require_tenant

MAX_ITEMS_PER_TENANT = 10_000


class ItemIn(BaseModel):
    name: str = Field(..., min_length=1, max_length=200)
    price: float = Field(..., ge=0)
    note: str = Field("", max_length=2_000)


class Item(ItemIn):
    id: int
    tenant: str


class ItemStore:
    """Items in memory, apart by tenant.

    Every method takes the tenant first: there is no way to ask for an item
    without saying whose. One event loop uses it, and no method awaits, so it
    needs no lock.
    """

    def __init__(self) -> None:
        self._items: defaultdict[str, dict[int, Item]] = defaultdict(dict)
        self._ids = count(1)

    def list(self, tenant: str, offset: int, limit: int) -> list[Item]:
        return list(self._items[tenant].values())[offset : offset + limit]

    def get(self, tenant: str, item_id: int) -> Item | None:
        return self._items[tenant].get(item_id)

    def create(self, tenant: str, body: ItemIn) -> Item | None:
        """None when the tenant is full."""
        items = self._items[tenant]
        if len(items) >= MAX_ITEMS_PER_TENANT:
            return None
        item = Item(id=next(self._ids), tenant=tenant, name=body.name, price=body.price, note=body.note)
        items[item.id] = item
        return item

    def replace(self, tenant: str, item_id: int, body: ItemIn) -> Item | None:
        items = self._items[tenant]
        if item_id not in items:
            return None
        item = Item(id=item_id, tenant=tenant, name=body.name, price=body.price, note=body.note)
        items[item_id] = item
        return item

    def delete(self, tenant: str, item_id: int) -> bool:
        return self._items[tenant].pop(item_id, None) is not None

    def counts(self) -> dict[str, int]:
        return {tenant: len(items) for tenant, items in self._items.items() if items}


store = ItemStore()
router = APIRouter(prefix="/items", tags=["items"])
admin = APIRouter(prefix="/admin", tags=["admin"])

# Another tenant's item is not found rather than forbidden: a 403 would say
# that it exists.
NOT_FOUND = HTTPException(status.HTTP_404_NOT_FOUND, "No such item.")


@router.get("", response_model=list[Item])
async def list_items(
    tenant: str = Depends(require_tenant),
    offset: int = Query(0, ge=0),
    limit: int = Query(50, ge=1, le=500),
) -> list[Item]:
    return store.list(tenant, offset, limit)


@router.post("", response_model=Item, status_code=status.HTTP_201_CREATED)
async def create_item(body: ItemIn, response: Response, tenant: str = Depends(require_tenant)) -> Item:
    item = store.create(tenant, body)
    if item is None:
        raise HTTPException(status.HTTP_409_CONFLICT, f"A tenant has {MAX_ITEMS_PER_TENANT} items at most.")
    response.headers["Location"] = f"items/{item.id}"
    return item


@router.get("/export")
async def export_items(tenant: str = Depends(require_tenant)) -> StreamingResponse:
    """All items as one JSON document a line; dear, so the gateway allows few."""

    def lines() -> Iterator[str]:
        for item in store.list(tenant, 0, MAX_ITEMS_PER_TENANT):
            yield json.dumps({"id": item.id, "name": item.name, "price": item.price, "note": item.note}) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@router.get("/{item_id}", response_model=Item)
async def get_item(item_id: int, tenant: str = Depends(require_tenant)) -> Item:
    item = store.get(tenant, item_id)
    if item is None:
        raise NOT_FOUND
    return item


@router.put("/{item_id}", response_model=Item)
async def replace_item(item_id: int, body: ItemIn, tenant: str = Depends(require_tenant)) -> Item:
    item = store.replace(tenant, item_id, body)
    if item is None:
        raise NOT_FOUND
    return item


@router.delete("/{item_id}", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def delete_item(item_id: int, tenant: str = Depends(require_tenant)) -> Response:
    if not store.delete(tenant, item_id):
        raise NOT_FOUND
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@admin.get("/tenants")
async def count_items_by_tenant() -> dict[str, int]:
    """Items by tenant. The gateway asks for a permission before it comes here."""
    return store.counts()
