"""Ships the orders that come in a queue.

An order that can't be shipped is reported by its message's id, so that the rest
of the batch is done with. It comes again until its queue gives it up as a dead
letter.
"""

import json
import os


def handler(event, context):
    failures = []
    for message in event["Records"]:
        try:
            ship(json.loads(message["body"]))
        except Exception as e:
            attempt = message["attributes"]["ApproximateReceiveCount"]
            print(f"attempt {attempt} at message {message['messageId']} failed: {e!r}")
            failures.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failures}


def ship(order):
    if order["quantity"] < 1 and not os.environ.get("SHIP_EMPTY_BOXES"):
        raise ValueError(f"order {order['id']} has nothing to ship")
    print(f"shipped order {order['id']}: {order['quantity']} x {order['item']}")
