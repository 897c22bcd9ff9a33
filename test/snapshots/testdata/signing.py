import datetime, hashlib, hmac, os, time, urllib.error, urllib.request

names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
region, endpoint = os.environ["AWS_REGION"], os.environ["AWS_ENDPOINT_URL"]


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def derive(secret, day, service):
    key = ("AWS4" + secret).encode()
    for part in [day, region, service, "aws4_request"]:
        key = sign(key, part)
    return key


def today():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")


def call(credentials, service, path, query="", key=None):
    host = endpoint.removeprefix("http://")
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp, "x-amz-security-token": credentials[2]}
    signed = ";".join(sorted(headers))
    canonical = "\n".join(["GET", path, query] + [k + ":" + headers[k] for k in sorted(headers)] + ["", signed, digest])
    scope = "/".join([stamp[:8], region, service, "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = sign(key or derive(credentials[1], stamp[:8], service), text).hex()
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={credentials[0]}/{scope}, SignedHeaders={signed}, Signature={signature}"
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint + path + ("?" + query if query else ""), headers=headers), timeout=20) as r:
            return r.status
    except urllib.error.HTTPError as e:
        return e.code


kept = [os.environ[n] for n in names]
day = today()
key = derive(kept[1], day, "s3")  # as clients do that sign more than once
assert call(kept, "s3", "/own/x", key=key) == 200


def handler(event, context):
    time.sleep(event.get("sleep", 0))
    env = [os.environ[n] for n in names]
    query = "Action=ListQueues"
    return {"signed": {"kept": kept, "env": env, "statuses": {
        "an object with what init kept": call(kept, "s3", "/own/x"),
        "an object with init's signing key": call(kept, "s3", "/own/x", key=key if today() == day else None),
        "an object with the environment's": call(env, "s3", "/own/x"),
        "queues with what init kept": call(kept, "sqs", "/", query),
        "queues with the environment's": call(env, "sqs", "/", query),
    }}}
