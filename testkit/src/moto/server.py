"""moto's S3 server with one bucket: server.py PORT BUCKET PLAIN|LOCK|LENIENT

PLAIN: no Object Lock. LOCK: Object Lock as S3 keeps it; moto itself lets anyone shorten a retention and suspend the
versions. LENIENT: as moto has it.
"""

import sys
from datetime import datetime

from moto.s3 import models
from moto.s3.exceptions import AccessDeniedByLock

port, bucket, kind = sys.argv[1:]


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def strict():
    retain = models.S3Backend.put_object_retention
    suspend = models.S3Backend.put_bucket_versioning

    def put_object_retention(self, bucket_name, key_name, version_id, retention):
        key = self.get_object(bucket_name, key_name, version_id=version_id)
        if key.lock_mode == "COMPLIANCE" and key.is_locked(True):
            mode, until = retention
            if mode != "COMPLIANCE" or moment(until) < moment(key.lock_until):
                raise AccessDeniedByLock
        retain(self, bucket_name, key_name, version_id, retention)

    def put_bucket_versioning(self, bucket_name, status):
        if self.get_bucket(bucket_name).object_lock_enabled and status != "Enabled":
            raise AccessDeniedByLock
        suspend(self, bucket_name, status)

    models.S3Backend.put_object_retention = put_object_retention
    models.S3Backend.put_bucket_versioning = put_bucket_versioning


if kind != "LENIENT":
    strict()
made = models.s3_backends["123456789012"]["aws"].create_bucket(bucket, "us-east-1")
if kind != "PLAIN":
    made.object_lock_enabled = True
    made.versioning_status = "Enabled"

from moto.server import main  # noqa: E402  (after the bucket is there)

main(["-H", "127.0.0.1", "-p", port])
