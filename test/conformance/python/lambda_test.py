"""Drives a Mayfly node with boto3. The Go test of the same name runs it.

The environment says where the node is (AWS_*), and gives two code packages
(MAYFLY_ZIP, MAYFLY_ZIP2), a runtime and a role.
"""

import base64
import datetime
import hashlib
import io
import json
import os
import unittest
import urllib.request
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

RUNTIME = os.environ["MAYFLY_RUNTIME"]
ROLE = os.environ["MAYFLY_ROLE"]


def read(variable):
    with open(os.environ[variable], "rb") as f:
        return f.read()


ZIP, ZIP2 = read("MAYFLY_ZIP"), read("MAYFLY_ZIP2")
ARN = "arn:aws:lambda:%s:000000000000:function:" % os.environ["AWS_REGION"]


def client(**kw):
    return boto3.client(
        "lambda",
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region_name=os.environ["AWS_REGION"],
        config=Config(retries={"max_attempts": 0}),
        **kw,
    )


class Lambda(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.c = client()

    def create(self, name, **kw):
        args = dict(FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": ZIP})
        args.update(kw)
        made = self.c.create_function(**args)
        self.addCleanup(self.remove, name)
        return made

    def remove(self, name):
        try:
            self.c.delete_function(FunctionName=name)
        except self.c.exceptions.ResourceNotFoundException:
            pass

    def wait(self, waiter, name):
        self.c.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})

    def active(self, name, **kw):
        made = self.create(name, **kw)
        self.wait("function_active_v2", name)
        return made

    def refused(self, code, status, words, call, *args, **kw):
        with self.assertRaises(ClientError) as caught:
            call(*args, **kw)
        e = caught.exception.response
        self.assertEqual((e["Error"]["Code"], e["ResponseMetadata"]["HTTPStatusCode"]), (code, status), e)
        self.assertIn(words, e["Error"]["Message"])
        uuid.UUID(e["ResponseMetadata"]["RequestId"])
        return caught.exception

    def invoke(self, name, payload=None, **kw):
        if payload is not None:
            kw["Payload"] = json.dumps(payload)
        out = self.c.invoke(FunctionName=name, **kw)
        return out, json.loads(out["Payload"].read() or "null")

    def test_life_cycle(self):
        made = self.create("life", Description="words", Timeout=5, MemorySize=256, Environment={"Variables": {"GREETING": "hi"}})
        self.assertEqual(made["ResponseMetadata"]["HTTPStatusCode"], 201)
        self.assertEqual((made["State"], made["StateReasonCode"], made["Version"]), ("Pending", "Creating", "$LATEST"))
        self.assertNotIn("LastUpdateStatus", made)
        self.assertEqual(made["FunctionArn"], ARN + "life")
        self.assertEqual(made["CodeSha256"], base64.b64encode(hashlib.sha256(ZIP).digest()).decode())
        self.assertEqual(made["CodeSize"], len(ZIP))
        datetime.datetime.strptime(made["LastModified"], "%Y-%m-%dT%H:%M:%S.%f%z")
        uuid.UUID(made["RevisionId"])

        self.wait("function_active_v2", "life")
        got = self.c.get_function(FunctionName="life")
        conf = got["Configuration"]
        want = dict(
            State="Active", LastUpdateStatus="Successful", Description="words", Timeout=5, MemorySize=256, Runtime=RUNTIME,
            Role=ROLE, Handler="app.handler", PackageType="Zip", Architectures=made["Architectures"],
            EphemeralStorage={"Size": 512}, TracingConfig={"Mode": "PassThrough"}, Environment={"Variables": {"GREETING": "hi"}},
            SnapStart={"ApplyOn": "None", "OptimizationStatus": "Off"},
        )
        self.assertEqual({k: conf.get(k) for k in want}, want)
        self.assertNotIn("StateReason", conf)
        self.assertEqual(got["Code"]["RepositoryType"], "S3")
        with urllib.request.urlopen(got["Code"]["Location"]) as f:
            self.assertEqual(f.read(), ZIP)

        upd = self.c.update_function_code(FunctionName="life", ZipFile=ZIP2, RevisionId=conf["RevisionId"])
        self.assertEqual((upd["State"], upd["LastUpdateStatus"]), ("Active", "InProgress"))
        self.assertNotEqual(upd["CodeSha256"], made["CodeSha256"])
        self.wait("function_updated_v2", "life")
        self.assertEqual(self.invoke("life")[1]["version"], 2)

        self.refused("PreconditionFailedException", 412, "The Revision Id provided does not match the latest Revision Id.",
                     self.c.update_function_configuration, FunctionName="life", Timeout=9, RevisionId=conf["RevisionId"])
        self.c.update_function_configuration(FunctionName="life", Environment={"Variables": {"GREETING": "bye"}})
        self.wait("function_updated_v2", "life")
        self.assertEqual(self.invoke("life")[1]["greeting"], "bye")

        dry = self.c.update_function_code(FunctionName="life", ZipFile=ZIP, DryRun=True)
        self.assertEqual(dry["CodeSha256"], made["CodeSha256"])
        self.assertEqual(self.c.get_function_configuration(FunctionName="life")["CodeSha256"], upd["CodeSha256"])

        gone = self.c.delete_function(FunctionName="life")
        self.assertEqual(gone["ResponseMetadata"]["HTTPStatusCode"], 204)
        self.refused("ResourceNotFoundException", 404, "Function not found: " + ARN + "life", self.c.get_function, FunctionName="life")

    def test_invoke(self):
        self.active("invoked")
        context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
        out, answer = self.invoke("invoked", {"n": [1, 2.5, "ü"]}, LogType="Tail", ClientContext=context)
        self.assertEqual((out["StatusCode"], out["ExecutedVersion"]), (200, "$LATEST"))
        self.assertNotIn("FunctionError", out)
        self.assertEqual((answer["event"], answer["custom"]), ({"n": [1, 2.5, "ü"]}, {"k": "v"}))
        log = base64.b64decode(out["LogResult"]).decode()
        self.assertIn("START RequestId: %s Version: $LATEST" % answer["id"], log)
        self.assertIn("REPORT RequestId: " + answer["id"], log)
        self.assertEqual(self.invoke("invoked")[1]["event"], {})

        out, doc = self.invoke(ARN + "invoked:$LATEST", {"fail": "on purpose"})
        self.assertEqual((out["StatusCode"], out["FunctionError"]), (200, "Unhandled"))
        self.assertEqual((doc["errorType"], doc["errorMessage"]), ("ValueError", "on purpose"))

        out, _ = self.invoke("invoked", {}, InvocationType="Event")
        self.assertEqual(out["StatusCode"], 202)
        out, _ = self.invoke("invoked", {}, InvocationType="DryRun")
        self.assertEqual(out["StatusCode"], 204)

        self.refused("RequestTooLargeException", 413, "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
                     self.c.invoke, FunctionName="invoked", Payload=json.dumps("x" * (6 << 20)))
        self.refused("InvalidRequestContentException", 400, "Could not parse request body into json",
                     self.c.invoke, FunctionName="invoked", Payload="{")
        self.refused("ResourceNotFoundException", 404, "Function not found: " + ARN + "nowhere", self.c.invoke, FunctionName="nowhere")

    def test_lists(self):
        names = ["listed-%d" % i for i in range(5)]
        for name in names:
            self.create(name)
        pages = list(self.c.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
        self.assertTrue(all(len(p["Functions"]) <= 2 for p in pages))
        got = [f["FunctionName"] for p in pages for f in p["Functions"]]
        self.assertEqual([n for n in got if n.startswith("listed-")], names)
        self.assertEqual(got, sorted(got))
        every = self.c.list_functions(FunctionVersion="ALL")["Functions"]
        self.assertTrue(all(f["FunctionArn"].endswith(":$LATEST") and "State" not in f for f in every))
        usage = self.c.get_account_settings()["AccountUsage"]
        self.assertGreaterEqual(usage["FunctionCount"], 5)

    def test_tags(self):
        arn = self.create("tagged", Tags={"a": "1"})["FunctionArn"]
        self.c.tag_resource(Resource=arn, Tags={"b": "2", "c/d": "x y"})
        self.c.untag_resource(Resource=arn, TagKeys=["a", "b"])
        self.assertEqual(self.c.list_tags(Resource=arn)["Tags"], {"c/d": "x y"})
        self.assertEqual(self.c.get_function(FunctionName="tagged")["Tags"], {"c/d": "x y"})

    def test_refusals(self):
        self.active("taken")
        create = self.c.create_function
        good = dict(FunctionName="refused", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": ZIP})
        for change, code, status, words in [
            (dict(FunctionName="taken"), "ResourceConflictException", 409, "Function already exist: taken"),
            (dict(FunctionName="not a name"), "ValidationException", 400, "1 validation error detected: Value 'not a name' at 'functionName'"),
            (dict(Runtime="cobol85"), "InvalidParameterValueException", 400, "Value cobol85 at 'runtime' failed to satisfy constraint"),
            (dict(Handler="a b"), "ValidationException", 400, "at 'handler' failed to satisfy constraint"),
            (dict(Code={"ZipFile": b"x"}), "InvalidParameterValueException", 400, "Could not unzip uploaded file."),
            (dict(Code={"ZipFile": bytes(53 << 20)}), "RequestEntityTooLargeException", 413, "Request must be smaller than 70167211 bytes for the CreateFunction operation"),
            (dict(Timeout=901), "ValidationException", 400, "Member must have value less than or equal to 900"),
            (dict(Environment={"Variables": {"AWS_REGION": "x"}}), "InvalidParameterValueException", 400, "Reserved keys used in this request: AWS_REGION"),
        ]:
            with self.subTest(**{k: str(v)[:40] for k, v in change.items()}):
                self.refused(code, status, words, create, **{**good, **change})
        e = self.refused("ResourceNotFoundException", 404, "nowhere", self.c.get_function, FunctionName="nowhere")
        self.assertIsInstance(e, self.c.exceptions.ResourceNotFoundException)

    def test_wrong_signature(self):
        wrong = client(aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="x" * 40)
        self.refused("InvalidSignatureException", 403, "does not match the signature you provided", wrong.list_functions)
        unknown = client(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x" * 40)
        self.refused("UnrecognizedClientException", 403, "The security token included in the request is invalid.", unknown.list_functions)


if __name__ == "__main__":
    unittest.main()
