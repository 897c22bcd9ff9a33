import time


def handler(event, context):
    if "pause" in event:  # milliseconds
        time.sleep(event["pause"] / 1000)
    return {"hello": event.get("name", "world")}
