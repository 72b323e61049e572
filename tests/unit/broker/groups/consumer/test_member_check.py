"""Who may commit offsets of a group, in transactions and without."""

from __future__ import annotations

import pytest

from odradek.broker.groups.member_check import Claim, check_commit
from odradek.broker.groups.table import Group
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.broker.groups.consumer.scene import Consumers
from tests.unit.broker.groups.scene import GROUP, Groups

NOBODY = Claim("", None, -1)
OFFSET_COMMIT = 9
TXN_OFFSET_COMMIT = 6


def refusal(group: Group, claim: Claim, version: int, *, is_transactional: bool = False, partition: int = 0) -> str:
    """The error that a commit of one partition of the topic with the id 1 gets."""
    try:
        check_commit(group, claim, version=version, is_transactional=is_transactional)(
            "orders", (1).to_bytes(16, "big"), partition
        )
    except KafkaError as error:
        return error.code.name
    return ErrorCode.NONE.name


def test_producers_that_know_nothing_of_members_may_commit_for_any_group() -> None:
    scene = Consumers({"orders": 1})
    scene.member("orders").join()
    assert refusal(scene.group, NOBODY, TXN_OFFSET_COMMIT, is_transactional=True) == "NONE"
    assert refusal(scene.group, NOBODY, OFFSET_COMMIT) == "UNKNOWN_MEMBER_ID"
    classic = Groups()
    classic.stable(1)
    group = classic_group(classic)
    assert refusal(group, NOBODY, TXN_OFFSET_COMMIT, is_transactional=True) == "NONE"
    assert refusal(group, NOBODY, OFFSET_COMMIT) == "UNKNOWN_MEMBER_ID"


@pytest.mark.parametrize(("version", "error"), [(5, "ILLEGAL_GENERATION"), (6, "STALE_MEMBER_EPOCH")])
@pytest.mark.parametrize("epoch", [1, 3])
def test_another_epoch_has_the_error_that_the_version_knows(version: int, error: str, epoch: int) -> None:
    scene = Consumers({"orders": 1})
    member = scene.member("orders")
    member.join()
    good = Claim(member.member_id, None, member.epoch)
    assert refusal(scene.group, good, version, is_transactional=True) == "NONE"
    assert refusal(scene.group, good._replace(epoch=epoch), version, is_transactional=True) == error
    assert refusal(scene.group, good._replace(member_id="x"), version, is_transactional=True) == "UNKNOWN_MEMBER_ID"


def test_a_classic_group_that_rebalances_takes_offsets_of_transactions_only() -> None:
    scene = Groups()
    (answer,) = scene.form(1)
    group = classic_group(scene)
    claim = Claim(answer.member_id, None, answer.generation_id)
    assert refusal(group, claim, OFFSET_COMMIT) == "REBALANCE_IN_PROGRESS"
    assert refusal(group, claim, TXN_OFFSET_COMMIT, is_transactional=True) == "NONE"
    assert refusal(group, claim._replace(epoch=9), TXN_OFFSET_COMMIT, is_transactional=True) == "ILLEGAL_GENERATION"


def classic_group(scene: Groups) -> Group:
    found: list[Group] = []
    scene.coordinator.runtime.read_all(lambda shard: found.extend(group for _, group in shard.table.groups.items()))
    (group,) = [group for group in found if group.group_id == GROUP]
    return group
