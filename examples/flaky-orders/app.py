"""An asynchronous worker: books orders, and fails in the ways that workers do.

Call it with --async and look at its log: mayfly logs flaky-orders -f
"""

import asyncio
import time


class OutOfStock(Exception):
    """The order can't be met now; a later attempt may work."""


async def reserve(item, quantity):
    if quantity > 10:
        raise OutOfStock(f"only 10 of {item} are left")
    return quantity


def handler(event, context):
    for key in ("order", "item", "quantity"):
        if key not in event:
            raise ValueError(f"the order has no {key}")
    print(f"order {event['order']}: {event['quantity']} x {event['item']}")
    if event.get("slow"):
        time.sleep(context.get_remaining_time_in_millis() / 1000 + 1)
    reserved = asyncio.run(reserve(event["item"], event["quantity"]))
    return {"order": event["order"], "reserved": reserved}
