"""Which neighbouring segments become one, so that segments do not get ever smaller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from odradek.storage.indexes import MAX_RELATIVE_OFFSET


class SegmentSizes(NamedTuple):
    """A segment and what it takes, in bytes."""

    base_offset: int
    log_bytes: int
    index_bytes: int
    time_index_bytes: int


def group_segments(
    segments: Sequence[SegmentSizes], segment_bytes: int, index_bytes: int, first_uncleanable_offset: int
) -> list[list[SegmentSizes]]:
    """Runs of segments that, as they are now, fit together into one; all offsets of it relative to its first."""
    groups: list[list[SegmentSizes]] = []
    total = SegmentSizes(0, 0, 0, 0)
    for number, segment in enumerate(segments):
        is_last = number + 1 == len(segments)
        end_offset = first_uncleanable_offset if is_last else segments[number + 1].base_offset
        grown = SegmentSizes(0, *(mine + more for mine, more in zip(total[1:], segment[1:], strict=True)))
        if (
            groups
            and grown.log_bytes <= segment_bytes
            and grown.index_bytes <= index_bytes
            and grown.time_index_bytes <= index_bytes
            and (segment.log_bytes == 0 or end_offset - 1 - groups[-1][0].base_offset <= MAX_RELATIVE_OFFSET)
        ):
            groups[-1].append(segment)
            total = grown
        else:
            groups.append([segment])
            total = segment
    return groups
