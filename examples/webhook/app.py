"""A webhook that believes only what its sender signed."""

import base64
import hashlib
import hmac
import json
import os

SECRET = os.environ.get("WEBHOOK_SECRET", "").encode()


def handler(event, context):
    body = event.get("body", "")
    # What is no text for sure, such as a form, comes in base64.
    raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
    want = "sha256=" + hmac.new(SECRET, raw, hashlib.sha256).hexdigest()
    if not SECRET or not hmac.compare_digest(want, event["headers"].get("x-signature", "")):
        return {"statusCode": 401, "body": "the signature is wrong\n"}
    try:
        message = json.loads(raw)
        print("accepted", message["event"])
        return {"accepted": message["event"]}
    except (ValueError, KeyError, TypeError):
        return {"statusCode": 400, "body": "send JSON with an event\n"}
