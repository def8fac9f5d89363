"""Who calls whom in the shop, and with how many replicas: the truth that a graph of a recording must equal."""

from __future__ import annotations

ENTRY = "gateway"
DATABASE = "store-db"
CALLS: dict[str, tuple[str, ...]] = {
    "gateway": ("catalog", "recommendation", "cart", "checkout"),
    "catalog": (DATABASE,),
    "recommendation": ("catalog",),
    "cart": ("catalog", DATABASE),
    "checkout": ("cart", "shipping", "payment", DATABASE),
    "payment": (DATABASE,),
    "shipping": (DATABASE,),
}
REPLICAS = {service: 2 if service == "catalog" else 1 for service in CALLS}
NODES = ("node-a", "node-b")
