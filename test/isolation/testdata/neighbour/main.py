"""The neighbour: a well-behaved function that others must not disturb."""

import os
import socket
import time

SECRET = "neighbour-secret-4711"  # others must not find this file


def handler(event, context):
    if event.get("keep"):
        with open("/tmp/neighbour-secret", "w") as f:
            f.write(SECRET)
    if event.get("listen"):
        return listen(event["listen"])
    return {"echo": event.get("echo"), "address": own_address()}


def listen(seconds):
    """Wait for a connection from another instance."""
    s = socket.socket()
    s.bind(("0.0.0.0", 9999))
    s.listen()
    s.settimeout(seconds)
    try:
        s.accept()
        return {"visited": True}
    except socket.timeout:
        return {"visited": False}
    finally:
        s.close()


def own_address():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.connect(("198.51.100.2", 9))  # sends nothing
        return s.getsockname()[0]
    except OSError:
        return ""
    finally:
        s.close()
