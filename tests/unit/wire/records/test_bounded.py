"""Output buffers grow as needed and never beyond what was decided."""

from __future__ import annotations

import cramjam
import pytest

from odradek.wire.errors import ProtocolError
from odradek.wire.records.codecs.bounded import decompress_bounded
from odradek.wire.records.codecs.limits import OutputLimitError
from odradek.wire.records.crc import Buffer


class Recorder:
    """Decompresses with zstd and notes the sizes of the buffers it was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, data: Buffer, output: bytearray) -> int:
        self.sizes.append(len(output))
        return cramjam.zstd.decompress_into(data, output)


PACKED = bytes(cramjam.zstd.compress(b"x" * 1000))


@pytest.mark.parametrize(
    ("guess", "bound", "limit", "sizes"),
    [
        (1000, 1000, 5000, [1000]),
        (100, 5000, 5000, [100, 400, 1600]),
        (100, 5000, 1000, [100, 400, 1000]),
        (4000, 5000, 1000, [1000]),
        (4000, 1200, 9000, [1200]),
    ],
)
def test_buffers_stay_within_bound_and_limit(guess: int, bound: int, limit: int, sizes: list[int]) -> None:
    recorder = Recorder()
    data = decompress_bounded(recorder, PACKED, guess_bytes=guess, bound_bytes=bound, limit_bytes=limit)
    assert data == b"x" * 1000
    assert recorder.sizes == sizes


@pytest.mark.parametrize(("limit", "sizes"), [(999, [100, 400, 999]), (0, [1])])
def test_more_than_the_limit_is_refused(limit: int, sizes: list[int]) -> None:
    recorder = Recorder()
    with pytest.raises(OutputLimitError, match=str(limit)):
        decompress_bounded(recorder, PACKED, guess_bytes=100, bound_bytes=5000, limit_bytes=limit)
    assert recorder.sizes == sizes


def test_malformed_data_is_tried_once() -> None:
    recorder = Recorder()
    with pytest.raises(ProtocolError, match="malformed"):
        decompress_bounded(recorder, PACKED[:-3], guess_bytes=2000, bound_bytes=5000, limit_bytes=9000)
    assert recorder.sizes == [2000]
