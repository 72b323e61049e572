"""Records that a log keeps beside itself, and those of the remote log metadata topic."""

from __future__ import annotations

from odradek.wire.persistent.registry import Registry

RECORDS: Registry = Registry(
    "odradek.wire.persistent.storage",
    {
        0: ("remote_log_segment_metadata_record", "RemoteLogSegmentMetadataRecord"),
        1: ("remote_log_segment_metadata_update_record", "RemoteLogSegmentMetadataUpdateRecord"),
        2: ("remote_partition_delete_metadata_record", "RemotePartitionDeleteMetadataRecord"),
        3: ("remote_log_segment_metadata_snapshot_record", "RemoteLogSegmentMetadataSnapshotRecord"),
    },
)
record_class = RECORDS.record_class

__all__ = ["RECORDS", "record_class"]
