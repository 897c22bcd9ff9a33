"""Drives a Mayfly node's queues with boto3. The Go test TestBoto3Queues runs it.

The environment says where the node is (AWS_*).
"""

import hashlib
import os
import time
import unittest

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ARN = "arn:aws:sqs:%s:000000000000:" % os.environ["AWS_REGION"]


class SQS(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.c = boto3.client(
            "sqs",
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
            region_name=os.environ["AWS_REGION"],
            config=Config(retries={"max_attempts": 0}),
        )

    def queue(self, name, **attributes):
        return self.c.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def refused(self, code, call, **kw):
        with self.assertRaises(ClientError) as e:
            call(**kw)
        self.assertEqual(e.exception.response["Error"]["Code"], code)

    def test_a_message_goes_round(self):
        q = self.queue("py-q", VisibilityTimeout="30")
        self.assertEqual(self.c.get_queue_url(QueueName="py-q")["QueueUrl"], q)
        with self.assertRaises(self.c.exceptions.QueueDoesNotExist):
            self.c.get_queue_url(QueueName="nowhere")
        body = "käse & <brot> \u2028"
        attributes = {
            "s": {"DataType": "String", "StringValue": "v"},
            "b": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
        }
        sent = self.c.send_message(QueueUrl=q, MessageBody=body, MessageAttributes=attributes)
        self.assertEqual(sent["MD5OfMessageBody"], hashlib.md5(body.encode()).hexdigest())
        m = self.c.receive_message(
            QueueUrl=q, AttributeNames=["All"], MessageAttributeNames=["s", "b.*"], WaitTimeSeconds=5
        )["Messages"][0]
        self.assertEqual((m["MessageId"], m["Body"]), (sent["MessageId"], body))
        self.assertEqual(m["MessageAttributes"]["b"]["BinaryValue"], b"\0\xff")
        self.assertEqual(m["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
        self.assertEqual(m["Attributes"]["ApproximateReceiveCount"], "1")
        self.c.change_message_visibility(QueueUrl=q, ReceiptHandle=m["ReceiptHandle"], VisibilityTimeout=0)
        m = self.c.receive_message(QueueUrl=q, AttributeNames=["ApproximateReceiveCount"])["Messages"][0]
        self.assertEqual(m["Attributes"], {"ApproximateReceiveCount": "2"})
        self.c.delete_message(QueueUrl=q, ReceiptHandle=m["ReceiptHandle"])
        self.assertNotIn("Messages", self.c.receive_message(QueueUrl=q))
        self.refused("ReceiptHandleIsInvalid", self.c.delete_message, QueueUrl=q, ReceiptHandle="x")
        self.refused("InvalidParameterValue", self.c.receive_message, QueueUrl=q, MaxNumberOfMessages=11)
        self.refused("InvalidMessageContents", self.c.send_message, QueueUrl=q, MessageBody="\1")

    def test_batches_have_an_outcome_for_each_entry(self):
        q = self.queue("py-batch")
        out = self.c.send_message_batch(
            QueueUrl=q, Entries=[{"Id": str(i), "MessageBody": "m%d" % i, "DelaySeconds": 901 * (i == 2)} for i in range(3)]
        )
        self.assertEqual([e["Id"] for e in out["Successful"]], ["0", "1"])
        self.assertEqual([(e["Id"], e["Code"], e["SenderFault"]) for e in out["Failed"]], [("2", "InvalidParameterValue", True)])
        got = self.c.receive_message(QueueUrl=q, MaxNumberOfMessages=10)["Messages"]
        entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)]
        hidden = self.c.change_message_visibility_batch(QueueUrl=q, Entries=[dict(e, VisibilityTimeout=60) for e in entries])
        self.assertEqual(len(hidden["Successful"]), 2)
        out = self.c.delete_message_batch(QueueUrl=q, Entries=entries + [{"Id": "x", "ReceiptHandle": "nothing"}])
        self.assertEqual((len(out["Successful"]), out["Failed"][0]["Code"]), (2, "ReceiptHandleIsInvalid"))
        same = [{"Id": "1", "MessageBody": "x"}] * 2
        self.refused("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", self.c.send_message_batch, QueueUrl=q, Entries=same)
        many = [{"Id": str(i), "MessageBody": "x"} for i in range(11)]
        self.refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", self.c.send_message_batch, QueueUrl=q, Entries=many)
        half = "x" * (600 * 1024)
        large = [{"Id": str(i), "MessageBody": half} for i in range(2)]
        self.refused("AWS.SimpleQueueService.BatchRequestTooLong", self.c.send_message_batch, QueueUrl=q, Entries=large)
        self.refused("InvalidParameterValue", self.c.send_message, QueueUrl=q, MessageBody=half * 2)
        self.c.send_message(QueueUrl=q, MessageBody=half)
        self.assertEqual(self.c.receive_message(QueueUrl=q)["Messages"][0]["Body"], half)

    def test_fifo_keeps_order_and_drops_repeats(self):
        q = self.queue("py.fifo", FifoQueue="true", ContentBasedDeduplication="true")
        numbers = [self.c.send_message(QueueUrl=q, MessageBody=b, MessageGroupId="g")["SequenceNumber"] for b in "abca"]
        self.assertEqual(numbers[0], numbers[3])
        self.assertEqual(numbers[:3], sorted(numbers[:3]))
        got = self.c.receive_message(QueueUrl=q, MaxNumberOfMessages=2, AttributeNames=["All"])["Messages"]
        self.assertEqual([m["Body"] for m in got], ["a", "b"])
        self.assertEqual(got[0]["Attributes"]["MessageGroupId"], "g")
        self.assertEqual(got[0]["Attributes"]["SequenceNumber"], numbers[0])
        self.assertNotIn("Messages", self.c.receive_message(QueueUrl=q))
        for m in got:
            self.c.delete_message(QueueUrl=q, ReceiptHandle=m["ReceiptHandle"])
        self.assertEqual(self.c.receive_message(QueueUrl=q)["Messages"][0]["Body"], "c")
        self.refused("MissingParameter", self.c.send_message, QueueUrl=q, MessageBody="x")

    def test_dead_letters_and_settings(self):
        dead = self.queue("py-dead")
        policy = '{"deadLetterTargetArn":"%spy-dead","maxReceiveCount":1}' % ARN
        q = self.queue("py-source", RedrivePolicy=policy)
        self.assertEqual(self.c.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [q])
        sent = self.c.send_message(QueueUrl=q, MessageBody="x")["MessageId"]
        self.c.receive_message(QueueUrl=q, VisibilityTimeout=0)
        self.assertNotIn("Messages", self.c.receive_message(QueueUrl=q))
        m = self.c.receive_message(QueueUrl=dead, AttributeNames=["All"], VisibilityTimeout=0)["Messages"][0]
        self.assertEqual(m["MessageId"], sent)
        self.assertEqual(m["Attributes"]["DeadLetterQueueSourceArn"], ARN + "py-source")
        if hasattr(self.c, "start_message_move_task"):  # newer than Debian 12's
            self.c.start_message_move_task(SourceArn=ARN + "py-dead")
            end = time.time() + 60
            while self.c.list_message_move_tasks(SourceArn=ARN + "py-dead")["Results"][0]["Status"] != "COMPLETED":
                self.assertLess(time.time(), end)
        self.c.set_queue_attributes(QueueUrl=q, Attributes={"DelaySeconds": "3", "RedrivePolicy": ""})
        a = self.c.get_queue_attributes(QueueUrl=q, AttributeNames=["All"])["Attributes"]
        self.assertEqual((a["DelaySeconds"], a["QueueArn"], a["MessageRetentionPeriod"]), ("3", ARN + "py-source", "345600"))
        self.assertNotIn("RedrivePolicy", a)
        self.refused("InvalidAttributeValue", self.c.set_queue_attributes, QueueUrl=q, Attributes={"DelaySeconds": "901"})
        self.refused("InvalidAttributeName", self.c.get_queue_attributes, QueueUrl=q, AttributeNames=["Colour"])
        self.c.tag_queue(QueueUrl=q, Tags={"a": "1", "b": "2"})
        self.c.untag_queue(QueueUrl=q, TagKeys=["a"])
        self.assertEqual(self.c.list_queue_tags(QueueUrl=q)["Tags"], {"b": "2"})
        pages = self.c.get_paginator("list_queues").paginate(QueueNamePrefix="py-", PaginationConfig={"PageSize": 1})
        self.assertIn(q, [u for p in pages for u in p["QueueUrls"]])
        self.c.purge_queue(QueueUrl=q)
        self.refused("AWS.SimpleQueueService.PurgeQueueInProgress", self.c.purge_queue, QueueUrl=q)
        self.c.delete_queue(QueueUrl=q)
        self.refused("AWS.SimpleQueueService.NonExistentQueue", self.c.delete_queue, QueueUrl=q)


if __name__ == "__main__":
    unittest.main()
