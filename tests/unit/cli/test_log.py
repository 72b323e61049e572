"""`odradek log` on real directories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from odradek.cli import main
from odradek.cli.log_tables import content_text, time_text
from odradek.net.files import OsFileSystem
from odradek.storage.log_config import LogConfig
from odradek.wire.persistent.framing import encode_key, encode_versioned
from odradek.wire.persistent.group.offset_commit import OffsetCommitKey, OffsetCommitValue
from odradek.wire.records.batch import build_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.record import Record
from tests.unit.storage.support import NOW_MS, Disk


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["log", *map(str, arguments)])


def objects(*arguments: str | Path) -> list[dict[str, object]]:
    result = run("dump", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A partition with every kind of file."""
    path = tmp_path / "topic-0"
    disk = Disk(LogConfig(index_interval_bytes=0), OsFileSystem(), str(path))
    disk.append(b"one", b"two")
    disk.append(b"aborted", producer_id=7, producer_epoch=1, base_sequence=0, is_transactional=True)
    disk.marker(7, 1, commit=False, coordinator_epoch=3)
    record = Record(0, NOW_MS + 5, b"\xff\x00", b"line\x1b[2J", [("trace", b"\x01"), ("none", None)])
    data = bytearray(build_batch([record], codec=Codec.LZ4))
    disk.log.append_as_leader(data, leader_epoch=2, now_ms=NOW_MS)
    disk.log.close()
    return path


def test_a_partition_is_dumped_file_by_file(directory: Path) -> None:
    found = objects(directory, "--records")
    kinds = [(str(row["file"]).rpartition("/")[2].partition(".")[2], row["kind"]) for row in found]
    assert kinds == [
        ("", "entry"),
        ("", "entry"),
        *[("log", kind) for kind in ("batch", "record", *["record", "batch"] * 3, "record")],
        *[("index", "entry")] * 3,
        *[("timeindex", "entry")] * 2,
        ("txnindex", "entry"),
        ("snapshot", "entry"),
    ]
    batches = [row for row in found if row["kind"] == "batch"]
    assert [(row["baseOffset"], row["lastOffset"], row["count"]) for row in batches] == [
        (0, 1, 2), (2, 2, 1), (3, 3, 1), (4, 4, 1),
    ]  # fmt: skip
    assert [row["compressCodec"] for row in batches] == ["none", "none", "none", "lz4"]
    assert [row["isControl"] for row in batches] == [False, False, True, False]
    assert all(row["isValid"] for row in batches)
    records = [row for row in found if row["kind"] == "record"]
    assert (records[3]["key"], records[3]["value"]) == ("ABORT", {"coordinatorEpoch": 3})
    assert records[2]["sequence"] == 0
    last = records[-1]
    assert (last["offset"], last["timestamp"], last["keyBase64"], last["value"]) == (
        4,
        NOW_MS + 5,
        "/wA=",
        "line\x1b[2J",
    )
    assert last["headers"] == [{"key": "trace", "value": "\x01"}, {"key": "none", "value": None}]
    aborted = found[-2]
    assert (aborted["producerId"], aborted["firstOffset"], aborted["lastOffset"]) == (7, 2, 3)


def test_without_a_terminal_each_row_is_a_line_without_control_characters(directory: Path) -> None:
    result = run("dump", "-r", directory / "00000000000000000000.log")
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0][:6] == ["batch", "0..1", "2", "0", lines[0][4], "0"]
    assert lines[-1] == ["record", "4", "2023-11-14 22:13:20.005", "base64:/wA=", "line\\x1b[2J", "trace=\\x01 none=-"]
    assert "\x1b" not in result.stdout


def test_records_of_internal_topics_are_decoded_by_the_name_of_the_directory(tmp_path: Path) -> None:
    key = encode_key(OffsetCommitKey(group="g", topic="t", partition=3))
    value = encode_versioned(OffsetCommitValue(offset=42, metadata="m", commit_timestamp=NOW_MS), 3)
    for name in ("__consumer_offsets-7", "copied-0"):
        disk = Disk(LogConfig(), OsFileSystem(), str(tmp_path / name))
        records = [Record(0, NOW_MS, key, value), Record(1, NOW_MS, key, None), Record(2, NOW_MS, b"?", b"?")]
        disk.log.append_as_leader(bytearray(build_batch(records)), leader_epoch=0, now_ms=NOW_MS)
        disk.log.close()

    def decoded(*arguments: str | Path) -> list[dict[str, object]]:
        return [row for row in objects("-r", *arguments) if row["kind"] == "record"]

    commit, tombstone, unknown = decoded(tmp_path / "__consumer_offsets-7")
    assert commit["key"] == {"type": "1", "data": {"group": "g", "topic": "t", "partition": 3}}
    assert commit["value"] == {
        "version": "3",
        "data": {"offset": 42, "leaderEpoch": -1, "metadata": "m", "commitTimestamp": NOW_MS},
    }
    assert (tombstone["key"], tombstone["value"]) == (commit["key"], None)
    assert (unknown["key"], unknown["value"]) == ("?", "?")
    assert "problem" in unknown
    assert "keySize" in decoded(tmp_path / "copied-0")[0]
    assert decoded(tmp_path / "copied-0", "--decode", "__consumer_offsets")[0]["key"] == commit["key"]


def test_a_data_directory_is_dumped_as_an_overview(directory: Path) -> None:
    (directory.parent / "replication-offset-checkpoint").write_text("0\n1\ntopic 0 5\n")
    (directory.parent / "meta.properties").write_text("#\nversion=1\ncluster.id=abc\n")
    found = objects(directory.parent)
    assert found[-1] == {
        "file": str(directory.parent), "kind": "partition", "topic": "topic", "partition": 0, "topicId": None,
        "segments": 1, "size": (directory / "00000000000000000000.log").stat().st_size, "startOffset": 0,
        "recoveryPoint": None, "highWatermark": 5,
    }  # fmt: skip
    assert {row.get("property") for row in found} >= {"version", "cluster.id"}
    assert any(row["kind"] == "batch" for row in objects(directory.parent, "--recursive"))


def test_damage_is_told_and_ends_with_1(directory: Path) -> None:
    log = directory / "00000000000000000000.log"
    log.write_bytes(log.read_bytes()[:-3])
    result = run("dump", log)
    assert result.exit_code == 1
    assert "half a batch at position" in result.stdout.splitlines()[-1]
    result = run("verify", directory)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith(f"{log}: half a batch at position")
    finding = json.loads(run("verify", "--json", directory.parent).stdout.splitlines()[0])
    assert finding["path"] == str(log)


def test_a_sound_directory_verifies_and_nothing_is_written(directory: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in directory.iterdir()}
    result = run("verify", "-r", directory)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "4 batches" in result.stderr
    assert "no findings" in result.stderr
    run("dump", "-r", directory)
    assert {path: path.stat().st_mtime_ns for path in directory.iterdir()} == before


def test_a_file_that_is_nothing_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    result = run("dump", tmp_path / "notes.txt")
    assert result.exit_code == 2
    assert "nothing of a log directory has this name" in result.stderr


def test_a_terminal_gets_tables(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    main(["log", "dump", "-r", str(directory)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "Producer:epoch:seq" in printed
    assert "7:1:0" in printed
    assert printed.index("4..4") < printed.index("aborted"), "batches first, then their records"


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [(-1, "-"), (None, "-"), (0, "1970-01-01 00:00:00.000"), (1 << 62, str(1 << 62))],
)
def test_times_are_in_utc(timestamp: int | None, text: str) -> None:
    assert time_text(timestamp) == text


def test_long_values_are_cut() -> None:
    assert content_text({"value": "x" * 1000}, "value") == "x" * 197 + "..."
