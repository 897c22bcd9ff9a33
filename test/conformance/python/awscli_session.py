"""Runs many commands of the AWS CLI in one process: starting it takes most of a
command's time. Each line of the input is a JSON list of arguments; each line of
the output tells the command's status, output and errors.
"""

import contextlib
import io
import json
import sys

import awscli.clidriver

answers = sys.stdout
for line in sys.stdin:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = awscli.clidriver.create_clidriver().main(json.loads(line))
        except SystemExit as e:
            status = e.code
    out.flush()
    answer = {"status": status, "out": out.buffer.getvalue().decode(), "err": err.getvalue()}
    print(json.dumps(answer), file=answers, flush=True)
