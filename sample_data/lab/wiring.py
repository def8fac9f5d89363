"""The lab as data: each service's language, endpoints and what an endpoint does; the truth its graph must equal.

A step is a list, its kind first; both programs (`service/`, `node/`) read the same table as JSON:

    ["work", ms]                          compute for about that long
    ["http", METHOD, service, path, {..}] call; options: timeout_s, retries, optional, expect, breaker
    ["grpc", service, method, {..}]       likewise
    ["all", [step, ...]]                  at once
    ["sql", statement, [names]]           one statement of the pool, its values by name
    ["redis", command, key]               one command
    ["cached", key, [step, ...]]          the steps only where the cache has no such key
    ["publish", queue]                    one message with the request's values
    ["journal"]                           append a line to the pod's volume, synced
    ["log", text]

`{name}` in a path, key or text is the request's value of that name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Step = list[Any]
NODES = ("node-a", "node-b")
ENTRY, DATABASE, CACHE, BROKER, BANK = "gateway", "store-db", "cache", "broker", "bank"
HTTP_PORT, GRPC_PORT, METRICS_PORT = 8080, 9090, 9464


@dataclass(frozen=True, slots=True)
class Service:
    """``endpoints`` by ``"GET /path/{name}"``, ``"grpc Method"``, ``"queue name"`` or ``"every seconds"``."""

    language: Literal["python", "node"]
    endpoints: dict[str, list[Step]]
    replicas: int = 1
    config: dict[str, Any] = field(default_factory=dict)


SERVICES: dict[str, Service] = {
    ENTRY: Service(
        "node",
        {
            "GET /": [["http", "GET", "storefront", "/home", {}]],
            "GET /product/{id}": [["http", "GET", "storefront", "/product/{id}", {}]],
            "GET /search/{id}": [["http", "GET", "search", "/search/{id}", {}]],
            "POST /login/{user}": [["http", "POST", "account", "/sessions/{user}", {}]],
            "POST /cart/{user}/{id}": [["http", "POST", "cart", "/carts/{user}/{id}", {}]],
            "POST /checkout/{user}": [["http", "POST", "checkout", "/orders/{user}", {"timeout_s": 6.0}]],
        },
    ),
    "storefront": Service(
        "python",
        {
            "GET /home": [
                [
                    "all",
                    [
                        ["http", "GET", "catalog", "/products", {}],
                        ["http", "GET", "recommendation", "/recommendations/1", {"optional": True, "timeout_s": 1.0}],
                        ["http", "GET", "advert", "/banner", {"optional": True, "timeout_s": 1.0}],
                    ],
                ],
                ["work", 1.0],
            ],
            "GET /product/{id}": [
                [
                    "all",
                    [
                        ["http", "GET", "catalog", "/products/{id}", {}],
                        ["http", "GET", "review", "/reviews/{id}", {}],
                    ],
                ],
                ["work", 1.0],
                ["log", "product {id} shown"],
            ],
        },
    ),
    "catalog": Service(
        "python",
        {
            "GET /products": [
                ["cached", "page", [["sql", "SELECT id, name, price_cents FROM products ORDER BY id LIMIT 12", []]]],
                ["work", 0.5],
            ],
            "GET /products/{id}": [
                [
                    "cached",
                    "product:{id}",
                    [
                        ["sql", "SELECT id, name, price_cents FROM products WHERE id = %s", ["id"]],
                        ["sql", "SELECT sum(quantity) FROM stock_moves WHERE product_id = %s", ["id"]],
                    ],
                ],
                ["work", 0.5],
            ],
        },
        replicas=2,
    ),
    "search": Service(
        "node", {"GET /search/{id}": [["work", 3.0], ["http", "GET", "catalog", "/products/{id}", {"retries": 1}]]}
    ),
    "recommendation": Service(
        "python",
        {"GET /recommendations/{id}": [["work", 3.0], ["http", "GET", "catalog", "/products/{id}", {}]]},
        replicas=2,
    ),
    "advert": Service("node", {"GET /banner": [["redis", "GET", "banner"], ["work", 0.5]]}),
    "review": Service(
        "node",
        {"GET /reviews/{id}": [["sql", "SELECT stars, body FROM reviews WHERE product_id = %s LIMIT 10", ["id"]]]},
    ),
    "account": Service(
        "python",
        {
            "POST /sessions/{user}": [
                ["sql", "SELECT id FROM accounts WHERE name = %s", ["user"]],
                ["work", 2.0],
                ["log", "user {user} signed in"],
            ]
        },
    ),
    "cart": Service(
        "node",
        {
            "POST /carts/{user}/{id}": [
                ["http", "GET", "catalog", "/products/{id}", {"retries": 1}],
                ["redis", "INCR", "cart:{user}"],
            ],
            "GET /carts/{user}": [["redis", "GET", "cart:{user}"]],
        },
    ),
    "checkout": Service(
        "python",
        {
            "POST /orders/{user}": [
                ["http", "GET", "cart", "/carts/{user}", {}],
                ["all", [["grpc", "pricing", "Quote", {"expect": "cents"}], ["grpc", "inventory", "Reserve", {}]]],
                ["http", "POST", "payment", "/charges/{user}", {"timeout_s": 4.0}],
                ["sql", "INSERT INTO orders (user_name) VALUES (%s)", ["user"]],
                ["http", "POST", "invoice", "/invoices/{user}", {"retries": 1}],
                ["publish", "orders"],
                ["log", "order of {user} complete"],
            ]
        },
    ),
    "pricing": Service("python", {"grpc Quote": [["work", 1.5], ["redis", "GET", "rates"]]}),
    "inventory": Service(
        "python",
        {
            "grpc Reserve": [
                ["sql", "SELECT sum(quantity) FROM stock_moves WHERE product_id = %s", ["id"]],
                ["sql", "INSERT INTO stock_moves (product_id, quantity) VALUES (%s, -1)", ["id"]],
            ]
        },
    ),
    "payment": Service(
        "python",
        {
            "POST /charges/{user}": [
                ["http", "POST", BANK, "/authorize", {"retries": 2, "timeout_s": 1.0, "breaker": True}],
                ["sql", "INSERT INTO payments (user_name) VALUES (%s)", ["user"]],
                ["log", "charged {user}"],
            ],
            "POST /settlements": [["sql", "SELECT count(*) FROM payments", []], ["work", 5.0]],
        },
        config={"credential": "valid"},
    ),
    "invoice": Service("python", {"POST /invoices/{user}": [["work", 1.0], ["journal"]]}),
    "fulfilment": Service(
        "python",
        {"queue orders": [["http", "POST", "shipping", "/shipments/{user}", {"retries": 2}], ["publish", "mails"]]},
    ),
    "shipping": Service(
        "node",
        {"POST /shipments/{user}": [["work", 1.0], ["sql", "INSERT INTO shipments (user_name) VALUES (%s)", ["user"]]]},
    ),
    "notification": Service("node", {"queue mails": [["work", 1.0], ["log", "mail to {user} sent"]]}),
    "settlement": Service(
        "python",
        {
            "every 8": [
                ["sql", "SELECT count(*) FROM orders", []],
                ["http", "POST", "payment", "/settlements", {}],
                ["log", "settled"],
            ]
        },
    ),
}
# Replicas of what is not ours to instrument; each speaks through its clients alone.
SERVERS = (DATABASE, CACHE, BROKER, BANK)


def steps_of(service: Service) -> list[Step]:
    """Return every step of a service, those inside other steps included."""
    found: list[Step] = []
    pending = [step for steps in service.endpoints.values() for step in steps]
    while pending:
        step = pending.pop(0)
        found.append(step)
        if step[0] in ("all", "cached"):
            pending += step[-1]
    return found


def targets_of(step: Step) -> str | None:
    """Return whom a step calls: a service, a server, or a queue (as ``queue:name``)."""
    match step:
        case ["sql", *_]:
            return DATABASE
        case ["redis" | "cached", *_]:
            return CACHE
        case ["http", _, service, *_] | ["grpc", service, *_]:
            return str(service)
        case ["publish", queue]:
            return f"queue:{queue}"
    return None


def edges() -> set[tuple[str, str]]:
    """Return who calls whom; a message goes producer -> queue -> consumer."""
    found = set()
    for name, service in SERVICES.items():
        found |= {(name, target) for step in steps_of(service) if (target := targets_of(step))}
        for endpoint in service.endpoints:
            kind, _, rest = endpoint.partition(" ")
            if kind == "queue":
                found.add((f"queue:{rest}", name))
    return found
