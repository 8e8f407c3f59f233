"""A small shop as an MCP server over standard input and output, for guides and trials: browse, fill a cart, buy."""

import json
import sys

STOCK = {"tea": 6.5, "candle": 12.0, "scarf": 29.9, "book": 18.0}
CART = []


def schema(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TOOLS = [
    {
        "name": "browse",
        "description": "What there is and what it costs.",
        "inputSchema": schema(),
        "annotations": {"readOnlyHint": True},
    },
    {
        "name": "add_to_cart",
        "description": "Puts an item into the cart.",
        "inputSchema": schema(["item"], item={"type": "string", "enum": sorted(STOCK)}, count={"type": "integer", "minimum": 1, "maximum": 9}),
    },
    {"name": "checkout", "description": "Buys what is in the cart.", "inputSchema": schema()},
]


class Refused(Exception):
    pass


def browse():
    return {"items": [{"item": item, "price": price} for item, price in STOCK.items()]}


def add_to_cart(item=None, count=1):
    if item not in STOCK:
        raise Refused(f"item: must be one of {', '.join(sorted(STOCK))}")
    if not isinstance(count, int) or not 1 <= count <= 9:
        raise Refused("count: must be a whole number from 1 to 9")
    CART.append((item, count))
    return {"cart": [{"item": name, "count": number} for name, number in CART]}


def checkout():
    if not CART:
        raise Refused("the cart is empty: add_to_cart first")
    total = sum(STOCK[item] * count for item, count in CART)
    CART.clear()
    return {"paid": round(total, 2)}


def answer(method, params):
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "shop", "version": "1"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        tool = {"browse": browse, "add_to_cart": add_to_cart, "checkout": checkout}[params["name"]]
        try:
            given = tool(**params.get("arguments", {}))
            return {"content": [{"type": "text", "text": json.dumps(given)}], "structuredContent": given}
        except (Refused, TypeError) as refused:
            return {"content": [{"type": "text", "text": str(refused)}], "isError": True}
    return None


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        said = {"jsonrpc": "2.0", "id": asked["id"]}
        given = answer(asked["method"], asked.get("params", {}))
        if given is None:
            said["error"] = {"code": -32601, "message": "there is no such method here"}
        else:
            said["result"] = given
        print(json.dumps(said), flush=True)
