"""Thumbnails of the pictures that are uploaded to a bucket.

Woken by the bucket, it reads the new picture, shrinks it with Pillow and stores the
result under thumbnails/, from where it is not woken again.

    mayfly trigger add thumbnails --bucket photos --prefix in/
"""

import io
import os
import urllib.parse

import boto3
from PIL import Image

LARGEST = (128, 128)

# boto3 before 1.28, as in Debian 12, does not read AWS_ENDPOINT_URL by itself.
s3 = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))


def handler(event, context):
    made = []
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
        made.append(shrink(bucket, key))
    return made


def shrink(bucket, key):
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    picture = Image.open(io.BytesIO(body))
    picture.thumbnail(LARGEST)
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG")
    to = "thumbnails/" + os.path.splitext(key.removeprefix("in/"))[0] + ".png"
    s3.put_object(Bucket=bucket, Key=to, Body=out.getvalue(), ContentType="image/png")
    print(f"{key} -> {to}, {picture.width} x {picture.height}")
    return to
