import boto3

s3 = boto3.client("s3", region_name="us-east-1")


def handler(event, context):
    return {"hello": event.get("name", "world"), "bucket": s3.meta.service_model.service_name}
