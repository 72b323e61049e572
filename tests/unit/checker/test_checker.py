"""The checker finds each anomaly, in a history that has only that one, and nothing in a sound one."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from odradek.checker.anomalies import check_history
from odradek.checker.cycles import find_cycles
from odradek.checker.dependencies import Dependency
from odradek.checker.history import Assign, HistoryError, Poll, Send, format_steps, read_history
from odradek.cli import main

HISTORIES = Path(__file__).parent / "histories"
BAD = sorted(path.stem for path in HISTORIES.glob("*.jsonl") if path.stem != "sound")
ANOMALIES = {
    "lost-write", "unseen", "duplicate", "inconsistent-offsets", "aborted-read", "precommitted-read", "poll-skip",
    "int-poll-skip", "nonmonotonic-poll", "int-nonmonotonic-poll", "nonmonotonic-send", "int-nonmonotonic-send",
    "cycle",
}  # fmt: skip


def found_in(name: str, dependencies: Collection[Dependency] = (Dependency.READ,)) -> set[str]:
    with open(HISTORIES / f"{name}.jsonl", encoding="utf-8") as lines:
        return {anomaly.name for anomaly in check_history(read_history(lines), dependencies)}


def test_a_sound_history_has_none() -> None:
    assert found_in("sound") == set()


@pytest.mark.parametrize("name", BAD)
def test_each_known_bad_history_is_rejected_for_what_it_is(name: str) -> None:
    assert found_in(name) == {name.partition(".")[0]}


@pytest.mark.parametrize("name", BAD)
def test_an_anomaly_names_lines_that_tell_of_it(name: str) -> None:
    lines = (HISTORIES / f"{name}.jsonl").read_text().splitlines()
    for anomaly in check_history(read_history(lines)):
        assert anomaly.lines
        assert set(anomaly.lines) <= set(range(1, len(lines) + 1))
        assert any('"value"' in lines[number - 1] for number in anomaly.lines)


def test_there_is_a_bad_history_of_every_anomaly() -> None:
    assert {name.partition(".")[0] for name in BAD} == ANOMALIES


@pytest.mark.parametrize("kind", [Dependency.WRITE, Dependency.ANTI])
def test_circles_that_kafka_allows_are_found_when_asked_for(kind: Dependency) -> None:
    name = f"circles/{kind.value}"
    assert found_in(name) == set()
    assert found_in(name, [kind]) == {"cycle"}
    assert found_in("circles/none", list(Dependency)) == set()


def test_what_never_ended_is_named_by_its_last_line() -> None:
    lines = (HISTORIES / "precommitted-read.never-asked.jsonl").read_text().splitlines()
    (anomaly,) = check_history(read_history(lines))
    assert anomaly.lines == (1, 3)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("nonsense", "no event"),
        ("[]", "no event|not a JSON object"),
        ('{"type": "invoke", "f": "txn"}', "process"),
        ('{"process": 1, "type": "ok", "f": "txn"}', "begun nothing"),
        ('{"process": 1, "type": "invoke"}', '"f"'),
        ('{"process": 1, "type": "commit"}', "begun nothing"),
        ('{"process": 1, "type": "huh", "f": "txn"}', "begun nothing"),
    ],
)
def test_a_line_that_is_no_event_is_named(line: str, complaint: str) -> None:
    with pytest.raises(HistoryError, match=complaint) as raised:
        read_history(["", line])
    assert "line 2" in str(raised.value)


@pytest.mark.parametrize(
    "value", ["x", [["send", "t-0"]], [["poll", [1]]], [["poll", {"t-0": [[1]]}]], [["send", "t-0", None, 1]], [{}]]
)
def test_steps_that_cannot_be_are_refused(value: object) -> None:
    lines = [
        '{"process": 1, "type": "invoke", "f": "txn"}',
        json.dumps({"process": 1, "type": "ok", "f": "txn", "value": value}),
    ]
    with pytest.raises(HistoryError, match="line 2"):
        read_history(lines)


def test_an_operation_at_a_time_and_unique_values() -> None:
    begin = '{"process": 1, "type": "invoke", "f": "send"}'
    end = '{"process": 1, "type": "ok", "f": "send", "value": [["send", "t-0", "a", 0]]}'
    with pytest.raises(HistoryError, match="before its last one ended"):
        read_history([begin, begin])
    with pytest.raises(HistoryError, match="values must be unique"):
        check_history(read_history([begin, end, begin, end]))


def test_a_transaction_has_to_be_committed_to_succeed_and_outcomes_are_three() -> None:
    begin = '{"process": 1, "type": "invoke", "f": "txn"}'
    for kind, complaint in (("ok", "line 2.*commit"), ("huh", "line 2.*'huh'")):
        with pytest.raises(HistoryError, match=complaint):
            read_history([begin, json.dumps({"process": 1, "type": kind, "f": "txn"})])


def test_the_last_value_of_an_operation_counts() -> None:
    def event(**fields: object) -> str:
        return json.dumps({"process": 1, "f": "txn", **fields})

    lines = [event(type="invoke", value=[["send", "t-0", "a", None], ["send", "t-0", "b", None]])]
    assert read_history(lines).operations[0].steps == (Send("t-0", "a", None), Send("t-0", "b", None))
    lines.append(event(type="commit", value=[["send", "t-0", "a", 4]]))
    assert read_history(lines).operations[0].steps == (Send("t-0", "a", 4),)
    lines.append(event(type="info"))
    assert read_history(lines).operations[0].steps == (Send("t-0", "a", 4),)


def test_steps_are_written_as_they_are_read() -> None:
    steps = (Send("t-0", "a", None), Send("t-1", 5, 7), Assign(), Poll({"t-0": ((0, "a"), (3, "b"))}))
    begin = '{"process": 1, "type": "invoke", "f": "txn"}'
    end = json.dumps({"process": 1, "type": "info", "f": "txn", "value": format_steps(steps)})
    assert read_history([begin, end]).operations[0].steps == steps


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7))))
def test_cycles_are_the_nodes_that_reach_each_other(pairs: set[tuple[int, int]]) -> None:
    edges: dict[int, dict[int, None]] = {}
    for start, end in sorted(pairs):
        edges.setdefault(start, {})[end] = None
    reach = {node: _reached(edges, node) for node in range(8)}
    together = {
        tuple(other for other in range(8) if other == node or (other in reach[node] and node in reach[other]))
        for node in range(8)
    }
    assert sorted(map(tuple, find_cycles(edges))) == sorted(group for group in together if len(group) > 1)


def _reached(edges: dict[int, dict[int, None]], start: int) -> set[int]:
    reached: set[int] = set()
    left = [start]
    while left:
        for following in edges.get(left.pop(), {}):
            if following not in reached:
                reached.add(following)
                left.append(following)
    return reached


def test_a_ring_of_any_size_is_one_cycle() -> None:
    ring = list(range(5000))
    edges = {start: {end: None} for start, end in pairwise([*ring, 0])}
    assert list(find_cycles(edges)) == [ring]


def test_the_command_lists_what_it_found_and_says_so_by_its_exit_code(tmp_path: Path) -> None:
    run = CliRunner().invoke
    sound = run(main, ["check", str(HISTORIES / "sound.jsonl")])
    assert sound.exit_code == 0
    bad = run(main, ["check", str(HISTORIES / "lost-write.jsonl")])
    assert bad.exit_code == 1
    assert "lost-write" in bad.output
    (tmp_path / "none").write_text("{}")
    assert run(main, ["check", str(tmp_path / "none")]).exit_code == 2
    circle = str(HISTORIES / "circles" / "ww.jsonl")
    assert run(main, ["check", circle]).exit_code == 0
    assert run(main, ["check", circle, "-d", "wr", "-d", "ww"]).exit_code == 1
