"""Calls methods of boto3's S3 client.

Reads [method, arguments] in JSON, one call a line, and prints one result a line. Bodies are
{"base64": ...} in both directions.
"""

import base64
import datetime
import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

endpoint = sys.argv[1]
config = Config(s3={"addressing_style": "path"})
client = boto3.client("s3", endpoint_url=endpoint, config=config)
resource = boto3.resource("s3", endpoint_url=endpoint, config=config)


def to_python(value):
    if value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return value


def to_json(value):
    if hasattr(value, "read"):
        return {"base64": base64.b64encode(value.read()).decode()}
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds")
    raise TypeError(type(value))


def remove(Bucket):
    """Deletes a bucket and its content one by one, because XML cannot express every key."""
    bucket = resource.Bucket(Bucket)
    for upload in bucket.multipart_uploads.all():
        upload.abort()
    for version in bucket.object_versions.all():
        version.delete()
    bucket.delete()


for line in sys.stdin:
    method, arguments = json.loads(line, object_hook=to_python)
    try:
        call = remove if method == "remove" else getattr(client, method)
        result = {"ok": call(**arguments)}
        print(json.dumps(result, default=to_json), flush=True)
    except ClientError as error:
        print(json.dumps({"code": error.response["Error"]["Code"]}), flush=True)
    except BotoCoreError as error:
        print(json.dumps({"code": repr(error)}), flush=True)
