"""The properties that Kafka does not have. Their names begin with `odradek.`, so that they never clash with Kafka's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from odradek.config.names import BOOLEAN, LOW, STRING
from odradek.config.types import ConfigKey
from odradek.config.validators import OneOf

RECORD_VALIDATION = "odradek.record.validation"
VALIDATE_HEADERS = "header"
VALIDATE_RECORDS = "full"
FORMAT_ON_START = "odradek.format.on.start"

OWN: Mapping[str, ConfigKey] = MappingProxyType(
    {
        RECORD_VALIDATION: ConfigKey(
            RECORD_VALIDATION, STRING, VALIDATE_HEADERS, LOW, OneOf(VALIDATE_HEADERS, VALIDATE_RECORDS)
        ),
        FORMAT_ON_START: ConfigKey(FORMAT_ON_START, BOOLEAN, False, LOW),
    }
)
OWN_DOCUMENTATION: Mapping[str, str] = MappingProxyType(
    {
        RECORD_VALIDATION: (
            "What is checked of a producer's batch: its header and checksum, and records only where the topic needs it "
            "(header), or every record, as Kafka does (full)."
        ),
        FORMAT_ON_START: (
            "Whether a node of a cluster of one formats its directories when it starts and finds them empty, and those "
            "that log.dirs has got in addition. `odradek serve` sets it when it is run without --config; otherwise "
            "directories are formatted by `odradek storage format`, as Kafka's are by kafka-storage."
        ),
    }
)
