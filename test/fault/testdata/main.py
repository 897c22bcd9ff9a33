"""Reports to a machine outside that it ran, and then does as it is told."""

import socket
import time


def report(word):
    with socket.create_connection(("198.51.100.2", 7000), timeout=10) as s:
        s.sendall(word.encode())
        s.shutdown(socket.SHUT_WR)
        assert s.recv(16) == b"noted"


def handler(event, context):
    report(event["word"])
    time.sleep(event.get("sleep", 0))
    return {"word": event["word"]}
