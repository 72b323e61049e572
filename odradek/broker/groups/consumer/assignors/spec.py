"""What an assignor is given, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.broker.groups.consumer.member import Target
from odradek.wire.uuids import Uuid

Assignment = dict[str, Target]
"""By member id: what it is to have."""


class MemberSpec(NamedTuple):
    """One member: its group instance id, the existing topics that it reads, and its target so far."""

    instance_id: str | None
    topics: tuple[Uuid, ...]
    target: Target


class AssignmentSpec(NamedTuple):
    """All members by id, and how many partitions each topic has that one of them reads."""

    members: Mapping[str, MemberSpec]
    partitions: Mapping[Uuid, int]
