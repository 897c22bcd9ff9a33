"""Reports what woke it, whatever the source, and fails at poison."""

import socket
import urllib.parse


def report(words):
    with socket.create_connection(("198.51.100.2", 7000), timeout=10) as s:
        s.sendall("\n".join(words).encode())
        s.shutdown(socket.SHUT_WR)
        assert s.recv(16) == b"noted"


def words(event):
    for r in event.get("Records", []):
        if "s3" in r:
            yield None, urllib.parse.unquote_plus(r["s3"]["object"]["key"])
        else:
            yield r["messageId"], r["body"]
    if "word" in event:
        yield None, event["word"]


def handler(event, context):
    good, failed = [], []
    for message, word in words(event):
        if "poison" not in word:
            good.append(word)
        elif message:
            failed.append({"itemIdentifier": message})
        else:
            raise ValueError(word)
    if good:
        report(good)
    return {"batchItemFailures": failed}
