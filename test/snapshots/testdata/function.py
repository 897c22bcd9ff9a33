import os, random, ssl, time, uuid
from snapshot_restore_py import register_before_snapshot, register_after_restore

born = uuid.uuid4().hex
random.random(), ssl.RAND_bytes(8), uuid.uuid1()
hooks = []
secret = "from init"


@register_before_snapshot
def forget():
    global secret
    secret = None
    hooks.append("before 1")


register_before_snapshot(hooks.append, "before 2")
register_after_restore(hooks.append, "after 1")
register_after_restore(lambda: hooks.append("after 2"))


def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return {
        "born": born, "now": time.time(), "hooks": hooks, "secret": secret,
        "stream": context.log_stream_name, "env": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"],
        "random": [
            str(random.random()), ssl.RAND_bytes(8).hex(), str(uuid.uuid1()), str(uuid.uuid4()), os.urandom(8).hex(),
            open("/proc/sys/kernel/random/boot_id").read(),
        ],
    }
