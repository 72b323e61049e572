"""Leader epochs: where each begins and ends, for followers that truncate and consumers that check."""

from __future__ import annotations

import pytest

from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.memory_files import MemoryFileSystem

PATH = "/leader-epoch-checkpoint"


@pytest.fixture
def fs() -> MemoryFileSystem:
    return MemoryFileSystem()


@pytest.fixture
def epochs(fs: MemoryFileSystem) -> LeaderEpochCache:
    cache = LeaderEpochCache(fs, PATH)
    for epoch, offset in ((2, 0), (4, 10), (7, 20)):
        cache.assign(epoch, offset)
    return cache


@pytest.mark.parametrize(
    ("epoch", "answer"),
    [(-1, (-1, -1)), (0, (0, 0)), (2, (2, 10)), (3, (2, 10)), (4, (4, 20)), (6, (4, 20)), (7, (7, 25)), (8, (-1, -1))],
)
def test_an_epoch_ends_where_the_next_begins(epochs: LeaderEpochCache, epoch: int, answer: tuple[int, int]) -> None:
    assert epochs.end_offset_for(epoch, 25) == answer


def test_offsets_belong_to_the_epoch_that_they_were_written_in(epochs: LeaderEpochCache) -> None:
    assert [epochs.epoch_for(offset) for offset in (0, 9, 10, 19, 20, 99)] == [2, 2, 4, 4, 7, 7]
    epochs.truncate_from_start(12)
    assert epochs.epoch_for(11) == -1


def test_the_file_is_kafkas_and_is_read_again(fs: MemoryFileSystem, epochs: LeaderEpochCache) -> None:
    epochs.save(25)
    assert fs.read(PATH) == b"0\n3\n2 0\n4 10\n7 20\n"
    again = LeaderEpochCache(fs, PATH)
    assert (again.entries(), again.latest_epoch) == (epochs.entries(), 7)


def test_an_epoch_without_records_is_not_worth_a_write(fs: MemoryFileSystem, epochs: LeaderEpochCache) -> None:
    epochs.save(20)
    saved = fs.read(PATH)
    epochs.assign(8, 25)
    epochs.save(25)
    assert fs.read(PATH) == saved
    epochs.save(26)
    assert fs.read(PATH) == saved.replace(b"\n3\n", b"\n4\n") + b"8 25\n"


def test_an_epoch_without_records_goes_again_without_a_write(
    fs: MemoryFileSystem, epochs: LeaderEpochCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that led for a moment follows again."""
    epochs.save(25)
    epochs.assign(8, 25)
    written: list[str] = []
    write = MemoryFileSystem.write_atomically

    def note(files: MemoryFileSystem, path: str, data: bytes) -> None:
        written.append(path)
        write(files, path, data)

    monkeypatch.setattr(MemoryFileSystem, "write_atomically", note)
    epochs.truncate_from_end(25)
    assert (written, epochs.latest_epoch) == ([], 7)
    epochs.assign(9, 25)
    epochs.save(26)
    assert fs.read(PATH) == b"0\n4\n2 0\n4 10\n7 20\n9 25\n"
    epochs.truncate_from_end(22)
    assert fs.read(PATH) == b"0\n3\n2 0\n4 10\n7 20\n"


def test_the_same_epoch_again_changes_nothing(epochs: LeaderEpochCache) -> None:
    assert not epochs.assign(7, 30)
    assert epochs.entries()[-1] == (7, 20)


@pytest.mark.parametrize(
    ("epoch", "offset", "kept"),
    [(8, 15, [(2, 0), (4, 10), (8, 15)]), (3, 30, [(2, 0), (3, 30)]), (8, 20, [(2, 0), (4, 10), (8, 20)])],
)
def test_an_epoch_replaces_those_it_contradicts(
    epochs: LeaderEpochCache, epoch: int, offset: int, kept: list[tuple[int, int]]
) -> None:
    assert epochs.assign(epoch, offset)
    assert epochs.entries() == kept


def test_truncation_at_the_end_forgets_epochs_that_begin_there_or_behind(epochs: LeaderEpochCache) -> None:
    epochs.truncate_from_end(10)
    assert (epochs.entries(), epochs.latest_epoch) == ([(2, 0)], 2)
    epochs.truncate_from_end(0)
    assert (epochs.entries(), epochs.latest_epoch) == ([], -1)


@pytest.mark.parametrize(
    ("offset", "kept"),
    [(0, [(2, 0), (4, 10), (7, 20)]), (5, [(2, 5), (4, 10), (7, 20)]), (10, [(4, 10), (7, 20)]), (30, [(7, 30)])],
)
def test_truncation_at_the_start_lets_the_epoch_it_falls_into_begin_there(
    epochs: LeaderEpochCache, offset: int, kept: list[tuple[int, int]]
) -> None:
    epochs.truncate_from_start(offset)
    assert epochs.entries() == kept
