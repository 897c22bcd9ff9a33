"""Greets, and tells how often this instance has been called."""

calls = 0


def handler(event, context):
    global calls
    calls += 1
    print("greeting", event.get("name"))
    return {
        "message": f"Hello, {event.get('name', 'world')}, from Python!",
        "calls": calls,
        "memory": context.memory_limit_in_mb,
    }
