"""Drives a Mayfly node's event buses and schedules with boto3. The Go test
TestBoto3Events runs it.

The environment says where the node is (AWS_*).
"""

import datetime
import json
import os
import unittest

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = os.environ["AWS_REGION"]
SQS = "arn:aws:sqs:%s:000000000000:" % REGION


def client(service):
    return boto3.client(
        service,
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        region_name=REGION,
        config=Config(retries={"max_attempts": 0}),
    )


class Events(unittest.TestCase):
    def setUp(self):
        self.events, self.scheduler, self.sqs = client("events"), client("scheduler"), client("sqs")

    def refused(self, code, call, **kw):
        with self.assertRaises(ClientError) as e:
            call(**kw)
        self.assertEqual(e.exception.response["Error"]["Code"], code)

    def receive(self, url):
        for _ in range(6):
            got = self.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"])
            if got.get("Messages"):
                m = got["Messages"][0]
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
                return m
        self.fail("no message comes")

    def test_events_reach_their_targets(self):
        url = self.sqs.create_queue(QueueName="py-events.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        e = self.events
        e.put_rule(Name="py", EventPattern=json.dumps({"source": ["py"], "$or": [{"detail": {"a": [1]}}, {"detail": {"b": [{"exists": True}]}}]}))
        out = e.put_targets(Rule="py", Targets=[{"Id": "1", "Arn": SQS + "py-events.fifo", "SqsParameters": {"MessageGroupId": "g"}}])
        self.assertEqual(out["FailedEntryCount"], 0)
        entry = {"Source": "py", "DetailType": "t", "Time": datetime.datetime(2026, 11, 29, 20, 0, tzinfo=datetime.timezone.utc)}
        out = e.put_events(Entries=[dict(entry, Detail='{"a":2}'), dict(entry, Detail='{"a":1}'), dict(entry, Detail='{"b":"käse"}')])
        self.assertEqual(out["FailedEntryCount"], 0)
        got = {}
        for _ in range(2):
            event = json.loads(self.receive(url)["Body"])
            got[event["id"]] = event
        self.assertEqual(set(got), {x["EventId"] for x in out["Entries"][1:]})
        for event in got.values():
            self.assertEqual(event["time"], "2026-11-29T20:00:00Z")
            self.assertEqual(event["resources"], [])

        self.assertEqual([r["Name"] for r in e.list_rules(NamePrefix="py")["Rules"]], ["py"])
        target = e.list_targets_by_rule(Rule="py")["Targets"][0]
        self.assertEqual(target["SqsParameters"], {"MessageGroupId": "g"})
        self.assertEqual(e.list_rule_names_by_target(TargetArn=target["Arn"])["RuleNames"], ["py"])
        with self.assertRaises(e.exceptions.ResourceNotFoundException):
            e.describe_rule(Name="nothing")
        with self.assertRaises(e.exceptions.InvalidEventPatternException):
            e.test_event_pattern(EventPattern="{", Event="{}")
        self.refused("ValidationException", e.put_rule, Name="none")
        self.refused("ValidationException", e.put_targets, Rule="py", Targets=[{"Id": "1", "Arn": "arn:aws:sns:x:1:t"}])
        self.refused("ValidationException", e.put_targets, Rule="py", Targets=[{"Id": "1", "Arn": SQS + "q", "Input": "{"}])
        self.refused("ValidationException", e.delete_rule, Name="py")
        self.assertEqual(e.remove_targets(Rule="py", Ids=["1"])["FailedEntryCount"], 0)
        e.delete_rule(Name="py")

    def test_rules_have_timers(self):
        e = self.events
        e.put_rule(Name="py-timer", ScheduleExpression="cron(0 8 ? * 2#1 *)", State="DISABLED", Description="d")
        shown = e.describe_rule(Name="py-timer")
        self.assertEqual((shown["ScheduleExpression"], shown["State"], shown["Description"]), ("cron(0 8 ? * 2#1 *)", "DISABLED", "d"))
        e.enable_rule(Name="py-timer")
        e.disable_rule(Name="py-timer")
        for expression in ["rate(5 minute)", "rate(1 minutes)", "rate(0 minutes)", "cron(0 8 * * *)", "at(2030-01-01T00:00:00)", "often"]:
            self.refused("ValidationException", e.put_rule, Name="bad", ScheduleExpression=expression)
        e.delete_rule(Name="py-timer")

    def test_schedule_fires_and_fails_into_its_dead_letter_queue(self):
        s = self.scheduler
        dead = self.sqs.create_queue(QueueName="py-dead")["QueueUrl"]
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
        arn = s.create_schedule(
            Name="py-lost",
            ScheduleExpression=at.strftime("at(%Y-%m-%dT%H:%M:%S)"),
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": SQS + "py-nowhere",
                "RoleArn": os.environ["MAYFLY_ROLE"],
                "Input": "plain <aws.scheduler.schedule-arn>",
                "DeadLetterConfig": {"Arn": SQS + "py-dead"},
                "RetryPolicy": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
            },
        )["ScheduleArn"]
        m = self.receive(dead)
        self.assertEqual(m["Body"], "plain " + arn)
        self.assertEqual(m["MessageAttributes"]["SCHEDULE_ARN"]["StringValue"], arn)
        self.assertEqual(m["MessageAttributes"]["ERROR_CODE"]["StringValue"], "NO_RESOURCE")
        got = s.get_schedule(Name="py-lost")
        self.assertEqual((got["State"], got["GroupName"]), ("ENABLED", "default"))
        s.delete_schedule(Name="py-lost")
        with self.assertRaises(s.exceptions.ResourceNotFoundException):
            s.get_schedule(Name="py-lost")


if __name__ == "__main__":
    unittest.main()
