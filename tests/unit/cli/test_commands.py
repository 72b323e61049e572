"""The command line's pure parts: options to properties, lines to records, records to lines, keys to partitions."""

from __future__ import annotations

import gc
import io
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from odradek import __version__
from odradek.cli import LazyGroup, main
from odradek.cli.consume import formatter_of
from odradek.cli.fetching import AbortedTransactions, Consumed
from odradek.cli.logs import configure
from odradek.cli.membership import ranges
from odradek.cli.produce import split
from odradek.cli.serve import _properties
from odradek.config import BrokerConfig, ConfigError
from odradek.wire.messages.fetch import AbortedTransaction, PartitionData
from odradek.wire.partitioning import murmur2, partition_of
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.records.header import parse_header
from odradek.wire.records.record import Record


def test_the_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"odradek {__version__}\n"


def test_every_command_has_help_and_is_imported_only_when_it_is_used() -> None:
    assert isinstance(main, LazyGroup)
    for name in ("serve", "topic", "group", "produce", "consume", "log", "check"):
        assert name in CliRunner().invoke(main, ["--help"]).output
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, result.output
    program = "import sys, odradek.cli; print(sorted(m for m in sys.modules if m.startswith(('odradek.', 'rich'))))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded == "['odradek.cli']\n"


def test_garbage_is_collected_again_once_a_command_is_imported() -> None:
    program = (
        "import gc, odradek.cli as cli, odradek.__main__ as it; cli.main = lambda **_: print(gc.isenabled()); it.main()"
    )
    during = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert during == "False\n"
    gc.disable()
    try:
        CliRunner().invoke(main, ["serve", "--help"])
        assert not gc.isenabled()
        CliRunner().invoke(main, ["check", "--help"])
        assert gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "nowhere"], "--listen nowhere: write HOST:PORT"),
        (["--listen", "host:70000"], "write HOST:PORT"),
        (["--in-memory", "--data-dir", "x"], "exclude each other"),
        (["--config", "/does/not/exist"], "No such file"),
        (["--config", "/dev/null", "--listen", "a:1"], "exclude each other"),
        (["--set", "novalue"], "write KEY=VALUE"),
        (["--set", "no.such.property=1"], "no.such.property"),
        (["--set", "num.partitions=many"], "num.partitions"),
    ],
)
def test_a_wrong_property_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("odradek: error: ")


def test_options_become_kafkas_properties(tmp_path: Path) -> None:
    properties = _properties("127.0.0.1:0", "data", False, None, ["num.partitions = 7", "log.dirs=/elsewhere"])
    config = BrokerConfig.load(properties)
    assert config.broker_listeners[0].port == 0
    assert config.int_("num.partitions") == 7
    assert config.log_dirs == ("/elsewhere",)
    file = tmp_path / "server.properties"
    file.write_text("node.id=5\nprocess.roles=broker\n")
    assert _properties(None, None, False, str(file), ["node.id=6"]) == {"node.id": "6", "process.roles": "broker"}


def test_a_relative_data_directory_is_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _properties(None, "here", False, None, [])["log.dirs"] == str(tmp_path / "here")


def test_a_node_on_all_addresses_does_not_advertise_a_wildcard() -> None:
    config = BrokerConfig.load(_properties("0.0.0.0:9092", None, True, None, []))
    assert config.broker_listeners[0].host == "0.0.0.0"
    assert config.advertised_listeners[0].host not in ("", "0.0.0.0")
    with pytest.raises(ConfigError):
        _properties("0.0.0.0", None, True, None, [])


@pytest.mark.parametrize(
    ("line", "separator", "record"),
    [
        (b"value", None, (None, b"value")),
        (b"k:v:w", b":", (b"k", b"v:w")),
        (b"k==v", b"==", (b"k", b"v")),
        (b"k:", b":", (b"k", None)),
        (b":v", b":", (b"", b"v")),
        (b"no separator", b":", (None, b"no separator")),
        (b"", None, (None, b"")),
    ],
)
def test_lines_become_records(line: bytes, separator: bytes | None, record: tuple[bytes | None, bytes | None]) -> None:
    assert split(line, separator) == record


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_hash_as_in_javas_client(key: bytes, digest: int) -> None:
    assert murmur2(key) == digest & 0xFFFFFFFF
    assert partition_of(key, 12) == (digest & 0x7FFFFFFF) % 12


def test_ranges_are_consecutive_and_the_first_members_have_one_more() -> None:
    assert ranges(["b", "a"], 5) == {"a": [0, 1, 2], "b": [3, 4]}
    assert ranges(["a", "b", "c"], 2) == {"a": [0], "b": [1], "c": []}


RECORD = Consumed(3, Record(42, 1700, b"k", "wörth".encode(), [("h", b"1"), ("empty", None)]))


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{value}\\n", "wörth\n"),
        ("{topic}[{partition}]@{offset}\\t{timestamp} {key}={value}{value}", "t[3]@42\t1700 k=wörthwörth"),
        ("{headers}|{unknown}\\0", "h=1,empty=|{unknown}\0"),
    ],
)
def test_formats(template: str, printed: str) -> None:
    assert formatter_of(template)("t", RECORD) == printed.encode()


def test_json_keeps_null_apart_from_empty() -> None:
    line = json.loads(formatter_of("json")("t", Consumed(0, Record(1, 2, None, b"\xff", [("h", b"")]))))
    assert line["key"] is None
    assert line["value"] == "\ufffd"
    assert line["headers"] == [["h", ""]]
    assert (line["topic"], line["partition"], line["offset"], line["timestamp"]) == ("t", 0, 1, 2)


def test_aborted_transactions_are_hidden_and_committed_ones_are_not() -> None:
    def batch(offset: int, producer_id: int, *, control: bytes | None = None) -> memoryview:
        builder = BatchBuilder(
            offset,
            producer_id=producer_id,
            producer_epoch=0,
            base_sequence=0,
            is_transactional=True,
            is_control=control is not None,
        )
        builder.append(0, control, b"value")
        return memoryview(builder.build())

    abort, commit = b"\0\0\0\0", b"\0\0\0\1"
    part = PartitionData(aborted_transactions=[AbortedTransaction(producer_id=1, first_offset=10)])
    batches = [
        (batch(9, 1), False),
        (batch(10, 1), True),
        (batch(11, 2), False),
        (batch(12, 1, control=abort), True),
        (batch(13, 1), False),
        (batch(14, 1, control=commit), True),
    ]
    aborted = AbortedTransactions(part)
    assert [aborted.hides(parse_header(each), each) for each, _ in batches] == [hidden for _, hidden in batches]


MOMENT_S = 60.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logs_restored(monkeypatch: pytest.MonkeyPatch) -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("logs_restored")
def test_logs_are_json_lines_unless_a_terminal_reads_them() -> None:
    stream = io.StringIO()
    configure("info", stream)
    logging.getLogger("odradek.x").info("took %d ms", 5, extra={"connection": "c1"})
    logging.getLogger("odradek.x").debug("not shown")
    logging.getLogger("odradek.y").warning("rolled", extra={"segment": 7, "path": Path("x")})
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("odradek.x").exception("failed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["took 5 ms", "rolled", "failed"]
    assert (lines[0]["connection"], lines[0]["level"], lines[0]["logger"]) == ("c1", "info", "odradek.x")
    assert (lines[1]["segment"], lines[1]["level"], lines[1]["logger"]) == (7, "warning", "odradek.y")
    assert list(lines[1]) == ["event", "logger", "level", "timestamp", "segment", "path"]
    assert "ValueError: inside" in lines[2]["exception"]
    ages_s = [(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])).total_seconds() for line in lines]
    assert all(0 <= age_s < MOMENT_S for age_s in ages_s)


@pytest.mark.usefixtures("logs_restored")
def test_logs_are_readable_on_a_terminal() -> None:
    stream = Terminal()
    configure("info", stream)
    logging.getLogger("odradek.x").info("hello %s", "you", extra={"connection": "c1"})
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("odradek.x").exception("failed")
    first, second, *traceback = re.sub(r"\x1b\[\d+m", "", stream.getvalue()).splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}Z \[info     ] hello you +\[odradek\.x] connection=c1", first)
    assert re.fullmatch(r"\S+Z \[error    ] failed +\[odradek\.x]", second)
    assert traceback[-1] == "ValueError: inside"
