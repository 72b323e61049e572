"""`odradek group reset`: let groups without members go on from elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from odradek.cli.errors import EXIT_FAILED
from odradek.cli.groups import Place, commit_offsets, committed_offsets, describe_group
from odradek.cli.offsets import EARLIEST, LATEST, list_offsets
from odradek.cli.session import bootstrap_option, explain, note, print_table, run
from odradek.net.client import Client
from odradek.wire import ErrorCode, KafkaError

_INACTIVE = ("Empty", "Dead")
_DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where to go: exactly one of these is set."""

    to_earliest: bool = False
    to_latest: bool = False
    to_current: bool = False
    to_offset: int | None = None
    shift_by: int | None = None
    to_datetime: str | None = None
    by_duration: str | None = None

    def __post_init__(self) -> None:
        """Raises UsageError unless exactly one is given."""
        flags = (self.to_earliest, self.to_latest, self.to_current)
        values = (self.to_offset, self.shift_by, self.to_datetime, self.by_duration)
        if sum(flags) + sum(value is not None for value in values) != 1:
            raise click.UsageError(
                "Say where to go, once: --to-earliest, --to-latest, --to-current, --to-offset, --shift-by, "
                "--to-datetime or --by-duration."
            )

    def timestamp_ms(self, now_ms: int) -> int | None:
        """The time to go to; None for the other scenarios. Raises BadParameter."""
        if self.to_datetime is not None:
            return parse_datetime_ms(self.to_datetime)
        return None if self.by_duration is None else now_ms - parse_duration_ms(self.by_duration)


@click.command("reset")
@click.argument("group_ids", nargs=-1, required=True)
@click.option("--topic", "-t", "topics", metavar="TOPIC[:0,1,...]", multiple=True, help="What to reset; repeatable.")
@click.option("--all-topics", is_flag=True, help="Reset all that the group has committed.")
@click.option("--to-earliest", is_flag=True, help="To the first record that is there.")
@click.option("--to-latest", is_flag=True, help="To the end.")
@click.option("--to-current", is_flag=True, help="To what is committed, or to the end where nothing is.")
@click.option("--to-offset", type=int, metavar="OFFSET", help="To an offset.")
@click.option("--shift-by", type=int, metavar="COUNT", help="By a number of offsets, back if it is negative.")
@click.option("--to-datetime", metavar="DATETIME", help="To a time, 2026-11-26T10:00:00.000 (UTC, or with +01:00).")
@click.option("--by-duration", metavar="DURATION", help="To that long ago, such as P1DT2H30M5S.")
@click.option("--execute", is_flag=True, help="Do it. Without, only show what it would do.")
@bootstrap_option
def reset(
    bootstrap_server: str,
    group_ids: Sequence[str],
    topics: Sequence[str],
    all_topics: bool,
    execute: bool,
    **scenario: object,
) -> None:
    """Let groups without members go on from elsewhere: show the new offsets, and commit them with --execute.

    Offsets outside of a partition's range become its first or its end, as with kafka-consumer-groups.
    """
    if all_topics == bool(topics):
        raise click.UsageError("Give either --topic or --all-topics.")
    plan = Scenario(**scenario)  # type: ignore[arg-type]  # click has checked the options' types
    wanted = dict(_topic(text) for text in topics)
    timestamp_ms = plan.timestamp_ms(time.time_ns() // 1_000_000)

    async def work(client: Client) -> bool:
        failed = False
        for group_id in group_ids:
            try:
                rows = await _reset(client, group_id, wanted, plan, timestamp_ms, execute=execute)
            except KafkaError as error:
                failed = True
                note(f"odradek: error: {group_id}: {explain(error.code, error.message)}")
                continue
            print_table(("Group", "Topic", "Partition", "New offset"), rows)
        return failed

    if run(bootstrap_server, work):
        sys.exit(EXIT_FAILED)
    if not execute:
        note("Nothing was changed: add --execute for that.")


async def _reset(
    client: Client,
    group_id: str,
    wanted: Mapping[str, Sequence[int] | None],
    plan: Scenario,
    timestamp_ms: int | None,
    *,
    execute: bool,
) -> list[tuple[object, ...]]:
    coordinator = await _inactive_coordinator(client, group_id)
    committed = await committed_offsets(client, group_id, coordinator)
    offsets: dict[Place, int] = {}
    for topic, numbers in (wanted or _topics_of(committed)).items():
        offsets |= await _new_offsets(client, topic, numbers, plan, timestamp_ms, committed)
    if execute and offsets:
        await commit_offsets(client, group_id, coordinator, offsets)
    return [(group_id, *place, offset) for place, offset in sorted(offsets.items())]


async def _inactive_coordinator(client: Client, group_id: str) -> int:
    """Where the group is; it may also not be there yet. Raises KafkaError if it has members."""
    try:
        described = await describe_group(client, group_id)
    except KafkaError as error:
        if error.code is not ErrorCode.GROUP_ID_NOT_FOUND:
            raise
        return await client.group_coordinator(group_id)
    if described.state not in _INACTIVE:
        message = f"offsets can be reset while the group has no members, and now it is {described.state}"
        raise KafkaError(ErrorCode.NON_EMPTY_GROUP, message)
    return described.coordinator


async def _new_offsets(
    client: Client,
    topic: str,
    numbers: Sequence[int] | None,
    plan: Scenario,
    timestamp_ms: int | None,
    committed: Mapping[Place, int],
) -> dict[Place, int]:
    found = (await client.metadata([topic])).topics[0]
    if found.error_code:
        raise KafkaError(ErrorCode(found.error_code), f"no topic {topic} here")
    known = {each.partition_index for each in found.partitions}
    unknown = [number for number in numbers or () if number not in known]
    if unknown:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has no partition {unknown[0]}")
    starts = await list_offsets(client, found, EARLIEST, numbers)
    ends = await list_offsets(client, found, LATEST, numbers)
    at_time = {} if timestamp_ms is None else await list_offsets(client, found, timestamp_ms, numbers)
    offsets: dict[Place, int] = {}
    for number, end in ends.items():
        offset = _target(plan, starts[number], end, committed.get((topic, number)), at_time.get(number))
        if offset is None:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"nothing is committed for {topic}-{number}: cannot shift it")
        offsets[topic, number] = min(max(offset, starts[number]), end)
    return offsets


def _target(plan: Scenario, start: int, end: int, current: int | None, at_time: int | None) -> int | None:
    """Where one partition goes to, out of range perhaps; None if there is nothing to shift."""
    if plan.to_earliest:
        return start
    if plan.to_offset is not None:
        return plan.to_offset
    if plan.shift_by is not None:
        return None if current is None else current + plan.shift_by
    if plan.to_current and current is not None:
        return current
    return end if at_time is None or at_time < 0 else at_time


def _topics_of(committed: Iterable[Place]) -> dict[str, Sequence[int]]:
    by_topic: dict[str, Sequence[int]] = {}
    for topic, number in sorted(committed):
        by_topic[topic] = [*by_topic.get(topic, ()), number]
    return by_topic


def _topic(text: str) -> tuple[str, Sequence[int] | None]:
    """`TOPIC` or `TOPIC:0,1`."""
    name, separator, numbers = text.partition(":")
    if not separator:
        return name, None
    if not re.fullmatch(r"\d+(,\d+)*", numbers, re.ASCII):
        raise click.BadParameter(f"{text}: write TOPIC or TOPIC:0,1", param_hint="--topic")
    return name, [int(number) for number in numbers.split(",")]


def parse_datetime_ms(text: str) -> int:
    """ISO 8601, in UTC unless it says otherwise; milliseconds since the epoch. Raises BadParameter."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text}: write 2026-11-26T10:00:00.000", param_hint="--to-datetime") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def parse_duration_ms(text: str) -> int:
    """ISO 8601 in days, hours, minutes and seconds; milliseconds. Raises BadParameter."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groupdict().values()):
        raise click.BadParameter(f"{text}: write P1DT2H30M5S", param_hint="--by-duration")
    parts = {unit: float(value) for unit, value in match.groupdict().items() if value}
    return timedelta(**parts) // timedelta(milliseconds=1)
