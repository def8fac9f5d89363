"""What each service does with a request, and what it writes about it."""

from __future__ import annotations

import time
from typing import Any

from .service import Call, Handler, NotFound, PeerError, Service

PRODUCTS = 200
PAGE = 12


def _work(shop: Service, mean_ms: float) -> None:
    # Real work of a little random length: what a template, a model or a rule set would cost.
    until = time.thread_time() + shop.random.uniform(0.5, 1.5) * mean_ms / 1000
    while time.thread_time() < until:
        sum(range(200))


def gateway(shop: Service) -> dict[str, Handler]:
    """The entry: composes pages; a page without recommendations is still a page."""

    def recommended(product: int) -> Any:
        try:
            return shop.call("recommendation", "GET", f"/recommendations/{product}")
        except PeerError as error:
            shop.log.warning("page without recommendations: %s", error)
            return []

    def home(_call: Call) -> Any:
        shop.log.info("home page requested")
        products = shop.call("catalog", "GET", "/products?page=0")
        _work(shop, 1.5)
        page = {"products": products, "recommended": recommended(products[0]["id"])}
        shop.log.info("home page with %d products rendered", len(products))
        return page

    def product(call: Call) -> Any:
        wanted = int(call.path["product"])
        shop.log.info("product page %d requested", wanted)
        found = shop.call("catalog", "GET", f"/products/{wanted}")
        _work(shop, 1.0)
        page = {"product": found, "recommended": recommended(wanted)}
        shop.log.info("product page %d rendered", wanted)
        return page

    def show_cart(call: Call) -> Any:
        shop.log.info("cart of user %s requested", call.path["user"])
        return shop.call("cart", "GET", f"/carts/{call.path['user']}")

    def add(call: Call) -> Any:
        shop.log.info("user %s adds product %s", call.path["user"], call.body["product"])
        return shop.call("cart", "POST", f"/carts/{call.path['user']}/items", call.body)

    def checkout(call: Call) -> Any:
        shop.log.info("user %s checks out", call.path["user"])
        order = shop.call("checkout", "POST", "/orders", {"user": call.path["user"]})
        shop.log.info("order %s confirmed to user %s", order["order"], call.path["user"])
        return order

    return {
        "GET /": home,
        "GET /product/{product:int}": product,
        "GET /cart/{user}": show_cart,
        "POST /cart/{user}": add,
        "POST /checkout/{user}": checkout,
    }


def catalog(shop: Service) -> dict[str, Handler]:
    """Products and what is left of them, from the database."""

    def listing(call: Call) -> Any:
        first = int(call.query.get("page", "0")) * PAGE
        rows = shop.query("SELECT id, name, price_cents FROM products ORDER BY id LIMIT %s OFFSET %s", PAGE, first)
        shop.log.info("listed %d products from %d", len(rows), first)
        return [{"id": row[0], "name": row[1], "price_cents": row[2]} for row in rows]

    def product(call: Call) -> Any:
        wanted = int(call.path["product"])
        rows = shop.query("SELECT id, name, price_cents FROM products WHERE id = %s", wanted)
        if not rows:
            raise NotFound(f"product {wanted}")
        (left,) = shop.query("SELECT sum(quantity) FROM stock_moves WHERE product_id = %s", wanted)
        shop.log.info("product %d has %d in stock", wanted, left[0])
        return {"id": wanted, "name": rows[0][1], "price_cents": rows[0][2], "stock": int(left[0])}

    return {"GET /products": listing, "GET /products/{product:int}": product}


def recommendation(shop: Service) -> dict[str, Handler]:
    """Scores candidates of its own and asks the catalog for their names."""

    def recommend(call: Call) -> Any:
        seed = int(call.path["product"])
        with shop.tracer.start_as_current_span("score candidates"):
            _work(shop, 3.0)
        shop.log.info("scored candidates for product %d", seed)
        found = shop.call("catalog", "GET", f"/products?page={seed % (PRODUCTS // PAGE)}")
        shop.log.info("recommended %d products for %d", min(4, len(found)), seed)
        return found[:4]

    return {"GET /recommendations/{product:int}": recommend}


def cart(shop: Service) -> dict[str, Handler]:
    """Items by user; a product is checked with the catalog before it goes in."""

    def show(call: Call) -> Any:
        rows = shop.query("SELECT product_id, quantity FROM cart_items WHERE user_id = %s", call.path["user"])
        shop.log.info("cart of user %s holds %d items", call.path["user"], len(rows))
        return {"items": [{"product": row[0], "quantity": row[1]} for row in rows]}

    def add(call: Call) -> Any:
        product = shop.call("catalog", "GET", f"/products/{int(call.body['product'])}")
        shop.log.info("price of product %d is %d cents", product["id"], product["price_cents"])
        user = call.path["user"]
        shop.query(
            "INSERT INTO cart_items VALUES (%s, %s, 1) ON CONFLICT (user_id, product_id)"
            " DO UPDATE SET quantity = cart_items.quantity + 1",
            user,
            product["id"],
        )
        shop.log.info("added product %d to the cart of user %s", product["id"], user)
        return {"added": product["id"]}

    def empty(call: Call) -> Any:
        shop.query("DELETE FROM cart_items WHERE user_id = %s", call.path["user"])
        shop.log.info("emptied the cart of user %s", call.path["user"])
        return {"emptied": True}

    return {"GET /carts/{user}": show, "POST /carts/{user}/items": add, "DELETE /carts/{user}": empty}


def checkout(shop: Service) -> dict[str, Handler]:
    """Turns a cart into an order: quote, reserve, charge, store, ship."""

    def order(call: Call) -> Any:
        user = call.body["user"]
        items = shop.call("cart", "GET", f"/carts/{user}")["items"]
        shop.log.info("checking out %d items of user %s", len(items), user)
        quote = shop.call("shipping", "POST", "/quotes", {"items": items})
        if not shop.faults.skips("reserve"):
            for item in items:
                shop.query(
                    "INSERT INTO stock_moves (product_id, quantity) VALUES (%s, %s)", item["product"], -item["quantity"]
                )
            shop.log.info("reserved stock of %d items for user %s", len(items), user)
        amount = quote["cents"] + 1000 * len(items)
        charge = shop.call("payment", "POST", "/charges", {"user": user, "cents": amount})
        ((number,),) = shop.query(
            "INSERT INTO orders (user_id, cents) VALUES (%s, %s) RETURNING id", user, charge["cents"]
        )
        shop.log.info("stored order %d of user %s", number, user)
        shop.call("shipping", "POST", "/shipments", {"order": number})
        shop.call("cart", "DELETE", f"/carts/{user}")
        shop.log.info("order %d of user %s is complete", number, user)
        return {"order": number}

    return {"POST /orders": order}


def payment(shop: Service) -> dict[str, Handler]:
    """Assesses and books a charge."""

    def charge(call: Call) -> Any:
        user, cents = call.body["user"], int(call.body["cents"])
        shop.log.info("charging %d cents to user %s", cents, user)
        with shop.tracer.start_as_current_span("assess fraud"):
            _work(shop, 2.0)
        if not shop.faults.skips("book"):
            shop.query("INSERT INTO payments (user_id, cents) VALUES (%s, %s)", user, cents)
            shop.log.info("booked %d cents of user %s in the ledger", cents, user)
        shop.log.info("charge of user %s accepted", user)
        return {"cents": cents}

    return {"POST /charges": charge}


def shipping(shop: Service) -> dict[str, Handler]:
    """Quotes without a database, shipments with one."""

    def quote(call: Call) -> Any:
        with shop.tracer.start_as_current_span("pack parcels"):
            _work(shop, 1.5)
        cents = 490 + 120 * len(call.body["items"])
        shop.log.info("quoted %d cents for %d items", cents, len(call.body["items"]))
        return {"cents": cents}

    def ship(call: Call) -> Any:
        number = int(call.body["order"])
        if not shop.faults.skips("ship"):
            shop.query("INSERT INTO shipments (order_id) VALUES (%s)", number)
            shop.log.info("shipment of order %d scheduled", number)
        return {"shipped": number}

    return {"POST /quotes": quote, "POST /shipments": ship}


SERVICES = {
    "gateway": gateway,
    "catalog": catalog,
    "recommendation": recommendation,
    "cart": cart,
    "checkout": checkout,
    "payment": payment,
    "shipping": shipping,
}
