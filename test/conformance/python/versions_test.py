"""Drives the versions, aliases and concurrency of a Mayfly node with boto3.

The Go test TestVersions runs it and says by the environment where the node is.
"""

import json
import os
import time
import unittest

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

RUNTIME, ROLE = os.environ["MAYFLY_RUNTIME"], os.environ["MAYFLY_ROLE"]
ARN = "arn:aws:lambda:%s:000000000000:function:boto" % os.environ["AWS_REGION"]
F = dict(FunctionName="boto")


def read(variable):
    with open(os.environ[variable], "rb") as f:
        return f.read()


class Versions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.c = c = boto3.client("lambda", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=Config(retries={"max_attempts": 0}))
        c.create_function(Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": read("MAYFLY_ZIP")}, Publish=True, **F)
        cls.wait("function_active_v2")
        cls.two = c.update_function_code(ZipFile=read("MAYFLY_ZIP2"), Publish=True, **F)
        cls.wait("function_updated_v2")

    @classmethod
    def wait(cls, waiter):
        cls.c.get_waiter(waiter).wait(WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200}, **F)

    def refused(self, code, status, words, call, **kw):
        with self.assertRaises(ClientError) as caught:
            call(**F, **kw)
        e = caught.exception.response
        self.assertEqual((e["Error"]["Code"], e["ResponseMetadata"]["HTTPStatusCode"]), (code, status), e)
        self.assertIn(words, e["Error"]["Message"])
        return e

    def invoke(self, **kw):
        out = self.c.invoke(**F, **kw)
        return out["ExecutedVersion"], json.loads(out["Payload"].read())

    def alias(self, name, **kw):
        made = self.c.create_alias(Name=name, **F, **kw)
        self.addCleanup(self.c.delete_alias, Name=name, **F)
        return made

    def test_versions(self):
        self.assertEqual((self.two["Version"], self.two["FunctionArn"], self.two["State"]), ("2", ARN + ":2", "Pending"))
        pages = self.c.get_paginator("list_versions_by_function").paginate(PaginationConfig={"PageSize": 2}, **F)
        listed = [v["FunctionArn"] for page in pages for v in page["Versions"]]
        self.assertEqual(listed, [ARN + ":$LATEST", ARN + ":1", ARN + ":2"])
        again = self.c.publish_version(**F)
        self.assertEqual((again["Version"], again["ResponseMetadata"]["HTTPStatusCode"]), ("2", 201))
        self.assertEqual(self.invoke(Qualifier="1")[1]["code"], 1)
        self.assertEqual(self.invoke()[0], "$LATEST")
        self.refused("InvalidParameterValueException", 400, "$LATEST version cannot be deleted", self.c.delete_function, Qualifier="$LATEST")
        self.refused("ResourceNotFoundException", 404, "Function not found: " + ARN + ":9", self.c.get_function, Qualifier="9")

    def test_aliases(self):
        made = self.alias("live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
        self.assertEqual(made["RoutingConfig"], {"AdditionalVersionWeights": {"2": 1.0}})
        version, answer = self.invoke(Qualifier="live")
        self.assertEqual((version, answer["version"], answer["code"], answer["arn"]), ("2", "2", 2, ARN + ":live"))
        upd = self.c.update_alias(Name="live", RoutingConfig={}, Description="words", RevisionId=made["RevisionId"], **F)
        self.assertNotIn("RoutingConfig", upd)
        self.assertEqual(self.invoke(Qualifier="live")[0], "1")
        self.assertEqual(self.c.get_alias(Name="live", **F)["Description"], "words")
        self.alias("dev", FunctionVersion="$LATEST")
        names = lambda **kw: [a["Name"] for p in self.c.get_paginator("list_aliases").paginate(PaginationConfig={"PageSize": 1}, **F, **kw) for a in p["Aliases"]]
        self.assertEqual(names(), ["dev", "live"])
        self.assertEqual(names(FunctionVersion="1"), ["live"])
        self.refused("PreconditionFailedException", 412, "The Revision Id provided", self.c.update_alias, Name="live", RevisionId=made["RevisionId"])
        self.refused("ResourceConflictException", 409, "Alias already exists: " + ARN + ":live", self.c.create_alias, Name="live", FunctionVersion="1")
        self.refused("ResourceConflictException", 409, "[live]", self.c.delete_function, Qualifier="1")
        self.refused("InvalidParameterValueException", 400, "$LATEST is not supported for an alias pointing to more than 1 version",
                     self.c.create_alias, Name="x", FunctionVersion="$LATEST", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})

    def unreserved(self):
        return self.c.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]

    def test_concurrency(self):
        self.addCleanup(self.c.delete_function_concurrency, **F)
        self.assertNotIn("ReservedConcurrentExecutions", self.c.get_function_concurrency(**F))
        before = self.unreserved()
        self.c.put_function_concurrency(ReservedConcurrentExecutions=0, **F)
        e = self.refused("TooManyRequestsException", 429, "Rate Exceeded.", self.c.invoke)
        self.assertEqual(e["Reason"], "ReservedFunctionConcurrentInvocationLimitExceeded")
        self.c.put_function_concurrency(ReservedConcurrentExecutions=7, **F)
        self.assertEqual(self.c.get_function_concurrency(**F)["ReservedConcurrentExecutions"], 7)
        self.assertEqual(self.c.get_function(**F)["Concurrency"], {"ReservedConcurrentExecutions": 7})
        self.assertEqual(before - self.unreserved(), 7)
        self.refused("InvalidParameterValueException", 400, "below its minimum value of [100]", self.c.put_function_concurrency, ReservedConcurrentExecutions=901)

    def test_provisioned(self):
        put = self.c.put_provisioned_concurrency_config(Qualifier="2", ProvisionedConcurrentExecutions=1, **F)
        self.addCleanup(self.c.delete_provisioned_concurrency_config, Qualifier="2", **F)
        self.assertEqual((put["ResponseMetadata"]["HTTPStatusCode"], put["RequestedProvisionedConcurrentExecutions"]), (202, 1))
        time.strptime(put["LastModified"], "%Y-%m-%dT%H:%M:%S%z")
        for _ in range(1200):
            got = self.c.get_provisioned_concurrency_config(Qualifier="2", **F)
            if got["Status"] != "IN_PROGRESS":
                break
            time.sleep(0.05)
        self.assertEqual((got["Status"], got["AllocatedProvisionedConcurrentExecutions"]), ("READY", 1), got)
        listed = self.c.list_provisioned_concurrency_configs(**F)["ProvisionedConcurrencyConfigs"]
        self.assertEqual([p["FunctionArn"] for p in listed], [ARN + ":2"])
        self.refused("InvalidParameterValueException", 400, "cannot be applied to unpublished function versions",
                     self.c.put_provisioned_concurrency_config, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)
        self.refused("ProvisionedConcurrencyConfigNotFoundException", 404, "No Provisioned Concurrency Config found",
                     self.c.get_provisioned_concurrency_config, Qualifier="1")


if __name__ == "__main__":
    unittest.main()
