"""kafka-consumer-groups and `odradek group`: each does on either broker what the other does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from odradek.cli import main
from tests.support.batches import batch
from tests.support.groups import RawMember, commit, committed
from tests.support.program import Program
from tests.support.requests import await_coordinator, produce
from tests.support.targets import Target
from tests.support.wire import Connection

Run = Callable[..., str]
HOUR_MS = 3_600_000
BEGUN_MS = 1_790_000_000_000
BEGUN = "2026-09-21T13:33:20.000"
"""The same moment."""


@pytest.fixture
def kafka(target: Target, start_tool: Callable[..., Program]) -> Run:
    """Runs kafka-consumer-groups to its end; what it said."""
    runs: list[Program] = []

    def run(*arguments: str) -> str:
        name = f"run-{len(runs)}"
        main_class = "consumer.group.ConsumerGroupCommand"
        runs.append(start_tool(main_class, "--bootstrap-server", target.bootstrap, *arguments, name=name))
        runs[-1].wait()
        return runs[-1].output

    return run


@pytest.fixture
def ours(target: Target) -> Run:
    """Runs `odradek group` to its end; what it printed, both streams."""

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(main, ["group", *arguments, "--bootstrap-server", target.bootstrap])
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


@pytest.fixture
def topic(connection: Connection, new_topic: Callable[..., str]) -> str:
    """Two partitions of ten records each, an hour between one and the next."""
    name = new_topic(2)
    for partition in range(2):
        for number in range(10):
            records = batch([b"%d" % number], timestamp_ms=BEGUN_MS + number * HOUR_MS)
            produce(connection, name, records, partition=partition)
    return name


@pytest.fixture
def group(connection: Connection, unique: Callable[[str], str], topic: str) -> str:
    """A group without members that has committed 4 for partition 0."""
    name = unique("group")
    await_coordinator(connection, name)
    assert commit(connection, name, topic, 4) == "NONE"
    return name


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (["--to-earliest"], (0, 0)),
        (["--to-latest"], (10, 10)),
        (["--to-current"], (4, 10)),
        (["--to-offset", "3"], (3, 3)),
        (["--to-offset", "99"], (10, 10)),
        (["--to-datetime", "2026-09-21T16:30:00.000"], (3, 3)),
        (["--to-datetime", "2026-09-21T16:30:00.000+02:00"], (1, 1)),
        (["--to-datetime", "2039-01-01T00:00:00.000"], (10, 10)),
        (["--by-duration", "PT1H"], None),
        (["--by-duration", "P20000D"], (0, 0)),
    ],
)
def test_both_commands_reset_to_the_same_offsets(
    kafka: Run,
    ours: Run,
    group: str,
    topic: str,
    connection: Connection,
    scenario: list[str],
    expected: tuple[int, int] | None,
) -> None:
    """A plan, and with --execute the commits."""
    theirs = kafka("--reset-offsets", "--group", group, "--topic", topic, *scenario, "--dry-run")
    planned = ours("reset", group, "--topic", topic, *scenario)
    rows = [tuple(line.split("\t")) for line in planned.splitlines() if line.startswith(group)]
    assert rows == sorted(re.findall(rf"^({group})\s+({topic})\s+(\d+)\s+(\d+)", theirs, re.MULTILINE))
    assert len(rows) == 2
    if expected is not None:
        assert tuple(int(row[3]) for row in rows) == expected
    assert committed(connection, group, topic).committed_offset == 4
    ours("reset", group, "--topic", topic, *scenario, "--execute")
    assert [str(committed(connection, group, topic, partition).committed_offset) for partition in range(2)] == [
        row[3] for row in rows
    ]


def test_shifting_needs_an_offset_and_stays_in_range(
    kafka: Run, ours: Run, group: str, topic: str, connection: Connection
) -> None:
    """Partition 1 has no committed offset to start from."""
    assert re.search(rf"{topic}\s+0\s+2\s", kafka(*_reset(group, f"{topic}:0"), "--shift-by", "-2", "--execute"))
    assert "cannot shift" in ours("reset", group, "--topic", topic, "--shift-by", "1", "--execute", exit_code=1)
    assert f"{topic}\t0\t5\n" in ours("reset", group, "--all-topics", "--shift-by", "3", "--execute")
    assert committed(connection, group, topic).committed_offset == 5
    assert f"{topic}\t0\t0\n" in ours("reset", group, "--topic", f"{topic}:0", "--shift-by", "-99")


def test_a_group_that_is_not_there_yet_can_be_given_offsets(
    kafka: Run, ours: Run, unique: Callable[[str], str], topic: str, connection: Connection
) -> None:
    """So can one whose name was used by nobody."""
    mine, its = unique("mine"), unique("its")
    ours("reset", mine, "--topic", topic, "--to-offset", "6", "--execute")
    kafka(*_reset(its, topic), "--to-offset", "6", "--execute")
    for name in (mine, its):
        assert committed(connection, name, topic, 1).committed_offset == 6
        rows = [line.split("\t") for line in ours("describe", name).splitlines() if line.startswith(f"{name}\t")]
        assert rows == [[name, topic, str(partition), "6", "10", "4", "-"] for partition in range(2)]
        assert re.search(rf"{name}\s+{topic}\s+1\s+6\s+10\s+4\s", kafka("--describe", "--group", name))


def test_a_group_with_members_keeps_its_offsets(
    kafka: Run, ours: Run, target: Target, group: str, topic: str, connection: Connection
) -> None:
    """Both commands say so, and neither deletes it."""
    member = RawMember(target, group, session_timeout_ms=60_000)
    member.join()
    member.sync({member.member_id: b""})
    assert "Stable" in kafka(*_reset(group, topic), "--to-earliest", "--execute")
    assert "Stable" in ours("reset", group, "--topic", topic, "--to-earliest", "--execute", exit_code=1)
    assert "NON_EMPTY_GROUP" in ours("delete", group, exit_code=1)
    assert re.search(rf"^{group}\s+.*Stable\s+1$", kafka("--describe", "--group", group, "--state"), re.MULTILINE)
    assert f"{group}: Stable, 1 members" in ours("describe", group)
    assert committed(connection, group, topic).committed_offset == 4
    assert member.leave() == "NONE"
    member.close()


def test_groups_are_listed_by_state_and_type_and_deleted(
    kafka: Run, ours: Run, target: Target, group: str, unique: Callable[[str], str], connection: Connection
) -> None:
    """Whatever case the filters are in."""
    busy = unique("busy")
    await_coordinator(connection, busy)
    member = RawMember(target, busy, session_timeout_ms=60_000)
    member.join()
    member.sync({member.member_id: b""})
    for wanted, state in ((busy, "Stable"), (group, "Empty")):
        listed = ours("list", "--state", state.lower(), "--type", "Classic").splitlines()
        names = [line.split("\t")[0] for line in listed]
        assert wanted in names
        assert len({busy, group} & set(names)) == 1
        theirs = kafka("--list", "--state", state)
        assert set(re.findall(rf"^({busy}|{group})\s+{state} *$", theirs, re.MULTILINE)) == {wanted}
        assert re.search(rf"^{wanted}\s+Classic *$", kafka("--list", "--type", "classic"), re.MULTILINE)
    assert busy not in ours("list", "--type", "consumer", "--state", "stable")
    assert "deletion of requested consumer groups" in kafka("--delete", "--group", group).lower()
    assert group not in ours("list")
    member.leave()
    ours("delete", busy)
    assert "GROUP_ID_NOT_FOUND" in ours("delete", busy, exit_code=1)
    assert "GROUP_ID_NOT_FOUND" in ours("describe", group, exit_code=1)
    member.close()


def test_the_offsets_of_one_topic_can_be_deleted(
    kafka: Run, group: str, topic: str, connection: Connection, new_topic: Callable[..., str]
) -> None:
    """The group's other offsets stay."""
    other = new_topic()
    commit(connection, group, other, 1)
    assert "Successful" in kafka("--delete-offsets", "--group", group, "--topic", topic)
    assert committed(connection, group, topic).committed_offset == -1
    assert committed(connection, group, other).committed_offset == 1


def _reset(group: str, topic: str) -> tuple[str, ...]:
    return ("--reset-offsets", "--group", group, "--topic", topic)
