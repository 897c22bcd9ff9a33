"""Drives a Mayfly node's object store with boto3. The Go test TestObjectClients
runs it and says by the environment where the node is."""

import io
import os
import unittest
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# The boto3 of Debian 12 does not read AWS_ENDPOINT_URL.
s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"],
                  config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}, signature_version="s3v4"))


class Objects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        s3.create_bucket(Bucket="python")

    def refused(self, code, call, **args):
        with self.assertRaises(ClientError) as e:
            call(**args)
        self.assertEqual(e.exception.response["Error"]["Code"], code)

    def test_objects_are_stored_and_read(self):
        s3.put_object(Bucket="python", Key="a/ü b+c", Body=b"hello", Metadata={"owner": "me"})
        self.assertEqual(s3.get_object(Bucket="python", Key="a/ü b+c")["Body"].read(), b"hello")
        self.assertEqual(s3.get_object(Bucket="python", Key="a/ü b+c", Range="bytes=-2")["Body"].read(), b"lo")
        self.assertEqual(s3.head_object(Bucket="python", Key="a/ü b+c")["Metadata"], {"owner": "me"})
        s3.copy_object(Bucket="python", Key="copy", CopySource={"Bucket": "python", "Key": "a/ü b+c"})
        self.assertEqual(s3.get_object(Bucket="python", Key="copy")["Body"].read(), b"hello")
        s3.delete_object(Bucket="python", Key="copy")
        self.refused("NoSuchKey", s3.get_object, Bucket="python", Key="copy")

    def test_requests_after_an_empty_object_are_answered(self):
        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"],
                              config=Config(retries={"max_attempts": 0}, read_timeout=10, max_pool_connections=1,
                                            s3={"addressing_style": "path"}, signature_version="s3v4"))
        for key in ("empty", "directory/"):
            client.put_object(Bucket="python", Key=key, Body=b"")
            client.put_object(Bucket="python", Key="after", Body=key.encode())
            self.assertEqual(client.get_object(Bucket="python", Key="after")["Body"].read(), key.encode())

    def test_large_files_go_in_parts(self):
        body = os.urandom(9 << 20)  # boto3 splits what is larger than 8 MiB
        s3.upload_fileobj(io.BytesIO(body), "python", "large")
        got = io.BytesIO()
        s3.download_fileobj("python", "large", got)
        self.assertEqual(got.getvalue(), body)

    def test_links_work_without_a_key(self):
        s3.put_object(Bucket="python", Key="linked file", Body=b"by a link")
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "python", "Key": "linked file"}, ExpiresIn=60)
        with urllib.request.urlopen(url) as r:
            self.assertEqual(r.read(), b"by a link")

    def test_forms_store_objects(self):
        form = s3.generate_presigned_post("python", "form/x", ExpiresIn=60)
        boundary = "mayfly"
        parts = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in form["fields"].items())
        parts += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nby a form\r\n--{boundary}--\r\n'
        request = urllib.request.Request(form["url"], data=parts.encode(), headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
        with urllib.request.urlopen(request) as r:
            self.assertEqual(r.status, 204)
        self.assertEqual(s3.get_object(Bucket="python", Key="form/x")["Body"].read(), b"by a form")

    def test_lists_come_in_pages(self):
        for i in range(5):
            s3.put_object(Bucket="python", Key=f"list/{i}", Body=b"x")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket="python", Prefix="list/", PaginationConfig={"PageSize": 2})
        self.assertEqual([o["Key"] for p in pages for o in p["Contents"]], [f"list/{i}" for i in range(5)])
        folders = s3.list_objects_v2(Bucket="python", Delimiter="/")["CommonPrefixes"]
        self.assertIn({"Prefix": "list/"}, folders)

    def test_notifications_are_set_and_read(self):
        rule = {"Id": "r", "LambdaFunctionArn": os.environ["MAYFLY_FUNCTION"], "Events": ["s3:ObjectCreated:Put"],
                "Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".jpg"}]}}}
        s3.put_bucket_notification_configuration(Bucket="python", NotificationConfiguration={"LambdaFunctionConfigurations": [rule]})
        got = s3.get_bucket_notification_configuration(Bucket="python")["LambdaFunctionConfigurations"][0]
        self.assertEqual((got["Id"], got["LambdaFunctionArn"], got["Events"]), ("r", rule["LambdaFunctionArn"], rule["Events"]))
        s3.put_bucket_notification_configuration(Bucket="python", NotificationConfiguration={})
        self.assertNotIn("LambdaFunctionConfigurations", s3.get_bucket_notification_configuration(Bucket="python"))

    def test_refusals(self):
        self.refused("NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket")
        self.refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="python")
        self.refused("InvalidBucketName", s3.create_bucket, Bucket="a_b")


if __name__ == "__main__":
    unittest.main()
