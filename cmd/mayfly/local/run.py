"""Runs one event through a handler: run.py EVENT-FILE MODULE.FUNCTION"""

import importlib
import json
import os
import sys
import time
import traceback


class Context:
    function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
    memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    aws_request_id = os.environ["MAYFLY_REQUEST_ID"]
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:" + function_name
    log_group_name = "/aws/lambda/" + function_name
    log_stream_name = "local"
    identity = None
    client_context = None

    def __init__(self):
        self._end = time.time() + 24 * 3600  # a person steps through the code

    def get_remaining_time_in_millis(self):
        return max(0, int((self._end - time.time()) * 1000))


def main(event_file, name):
    sys.path.insert(0, os.getcwd())
    module, _, function = name.rpartition(".")
    with open(event_file, "rb") as f:
        event = json.load(f)
    try:
        handler = getattr(importlib.import_module(module.replace("/", ".")), function)
        out = {"failed": False, "answer": handler(event, Context())}
        text = json.dumps(out)
    except Exception as e:
        traceback.print_exc()
        text = json.dumps({"failed": True, "answer": {"errorMessage": str(e), "errorType": type(e).__name__}})
    with open(os.environ["MAYFLY_ANSWER"], "w") as f:
        f.write(text)


main(sys.argv[1], sys.argv[2])
