"""Faults as JSON."""

from __future__ import annotations

import json

import pytest

from odradek.testing.faults.specs import Delay, Fail, FaultSpec, Stall, fault_from_json, fault_kinds
from odradek.wire.schema import Message


def test_a_fault_is_the_same_after_json() -> None:
    for spec in (
        Fail(api="Produce", error="NOT_LEADER_OR_FOLLOWER", topic="t", partition=1, times=2, probability=0.5),
        Delay(ms=12.5, applied=True),
        Stall(),
    ):
        assert fault_from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_json_says_only_what_was_said() -> None:
    assert Fail(api="Produce", error="NOT_LEADER_OR_FOLLOWER", times=1).to_json() == {
        "fault": "fail", "api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER", "times": 1,
    }  # fmt: skip


def test_a_predicate_is_not_written() -> None:
    def is_one(_request: Message) -> bool:
        return True

    assert "where" not in Stall(where=is_one).to_json()


def test_every_kind_has_a_name_of_its_own() -> None:
    kinds = fault_kinds()
    assert kinds["fail"] is Fail
    assert len(set(kinds.values())) == len(kinds) >= 8
    assert all(issubclass(each, FaultSpec) for each in kinds.values())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, "there is no fault None; there are .*corrupt, "),
        ({"fault": "request"}, "there is no fault 'request'"),
        ({"fault": "stall", "apis": "Produce"}, "stall has no argument 'apis'; it has .*api"),
        ({"fault": "stall", "where": "x"}, "stall has no argument 'where'"),
        ({"fault": "stall", "api": 1}, "stall: api is str, and not 1"),
        ({"fault": "stall", "times": "1"}, r"stall: times is int \| None, and not '1'"),
        ({"fault": "stall", "times": True}, r"stall: times is int \| None, and not True"),
        ({"fault": "stall", "applied": 1}, "stall: applied is bool, and not 1"),
        ({"fault": "fail", "api": "Produce"}, "fail needs error"),
    ],
)
def test_what_is_wrong_with_json_is_said(value: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        fault_from_json(value)
