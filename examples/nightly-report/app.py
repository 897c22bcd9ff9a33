"""A report that a timer asks for every night: yesterday's sales by product.

Woken by a schedule, the event says when it was due. A report is made for that time
and not for the moment the code runs: run late or run again, it says the same.

    mayfly schedule add nightly nightly-report --cron '30 2 * * *' --zone Europe/Berlin
"""

import csv
import datetime
import json
import pathlib

SALES = pathlib.Path(__file__).with_name("sales.csv")


def handler(event, context):
    due = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    day = due.date() - datetime.timedelta(days=1)
    totals = {}
    with SALES.open(newline="") as f:
        for row in csv.DictReader(f):
            if row["weekday"] == day.strftime("%a"):
                totals[row["product"]] = totals.get(row["product"], 0) + int(row["cents"])
    report = {"day": day.isoformat(), "total": sum(totals.values()), "products": totals}
    print("report", json.dumps(report))
    return report
