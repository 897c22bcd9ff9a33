"""An API behind a function URL or API Gateway: counts the words of a text.

POST {"text": "..."} answers with the number of words and the most frequent.
"""

import base64
import json
import re
from collections import Counter


def answer(status, body):
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }


def handler(event, context):
    raw = event.get("body") or ""
    if event.get("isBase64Encoded"):
        raw = base64.b64decode(raw)
    try:
        text = json.loads(raw)["text"]
    except (ValueError, KeyError, TypeError):
        return answer(400, {"error": 'send {"text": "..."}'})
    words = re.findall(r"\w+", text.lower())
    return answer(200, {"words": len(words), "top": Counter(words).most_common(3)})
