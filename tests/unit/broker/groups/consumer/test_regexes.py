"""Subscriptions by regular expressions: when they are resolved, and what that causes."""

from __future__ import annotations

import re
import sys
from typing import cast

import pytest

from odradek.broker.groups.consumer.member import STATIC_LEAVING_EPOCH
from odradek.broker.groups.consumer.metadata_hash import TopicHashes
from odradek.broker.groups.consumer.regexes import REFRESH_PAUSE_MS, Resolution, compile_subscription
from odradek.broker.groups.options import GroupOptions
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.broker.groups.consumer.scene import HEARTBEAT_MS, SESSION_MS, Consumers, Member, state


def wait(scene: Consumers, *members: Member, milliseconds: int) -> None:
    """Let time pass, with heartbeats."""
    for _ in range(milliseconds // HEARTBEAT_MS):
        scene.world.advance(HEARTBEAT_MS)
        for member in members:
            assert member.beat().error_code == ErrorCode.NONE


def test_topics_come_with_the_heartbeat_after_the_expression_is_resolved() -> None:
    scene = Consumers({"a1": 1, "a2": 2, "b": 4})
    member = scene.member(regex="a\\d")
    assert member.join().member_epoch == 1
    assert scene.group.regexes.get("a\\d") is None
    scene.world.advance(0)
    resolved = scene.group.regexes.get("a\\d")
    assert resolved is not None
    assert (resolved.topics, resolved.version) == (("a1", "a2"), scene.image.offset)
    scene.settle(member)
    assert (member.epoch, member.count_owned) == (2, 3)


def test_only_topics_that_the_member_may_see() -> None:
    scene = Consumers({"a1": 1, "a2": 2})
    scene.hidden = ("a2",)
    member = scene.member(regex="a.*")
    member.join()
    scene.world.advance(0)
    scene.settle(member)
    assert list(member.owned) == [scene.id_of("a1")]


def test_new_topics_are_found_once_ten_seconds_are_over() -> None:
    scene = Consumers({"a1": 1})
    member = scene.member(regex="a.*")
    member.join()
    wait(scene, member, milliseconds=2 * HEARTBEAT_MS)
    scene.put_topic("a2", 1)
    wait(scene, member, milliseconds=REFRESH_PAUSE_MS - 3 * HEARTBEAT_MS)
    assert member.count_owned == 1
    wait(scene, member, milliseconds=4 * HEARTBEAT_MS)
    assert member.count_owned == 2
    scene.put_topic("b", 1)
    wait(scene, member, milliseconds=2 * REFRESH_PAUSE_MS)
    assert member.count_owned == 2


def test_expressions_are_resolved_again_after_the_refresh_interval() -> None:
    scene = Consumers({"a1": 1, "a2": 1}, GroupOptions(consumer_regex_refresh_interval_ms=60_000))
    scene.hidden = ("a2",)
    member = scene.member(regex="a.*")
    member.join()
    wait(scene, member, milliseconds=HEARTBEAT_MS)
    scene.hidden = ()
    wait(scene, member, milliseconds=58_000)
    assert member.count_owned == 1
    wait(scene, member, milliseconds=4000)
    assert member.count_owned == 2


def test_members_share_what_is_known_and_the_last_one_takes_it_along() -> None:
    scene = Consumers({"a1": 1, "a2": 1})
    first, second = scene.member(regex="a.*"), scene.member(regex="a.*")
    first.join()
    scene.world.advance(0)
    scene.settle(first)
    epoch = first.epoch
    assert second.join().member_epoch == epoch + 1
    scene.settle(first, second)
    assert (first.count_owned, second.count_owned) == (1, 1)
    first.leave()
    assert "a.*" in scene.group.regexes
    second.beat(subscribed_topic_regex="")
    assert len(scene.group.regexes) == 0
    assert scene.group.subscriptions.topics == {}
    scene.settle(second)
    assert second.owned == {}


def test_a_topic_that_is_read_by_name_and_by_expression_stays_when_one_of_them_goes() -> None:
    scene = Consumers({"a1": 1})
    member = scene.member("a1", regex="a.*")
    member.join()
    scene.world.advance(0)
    scene.settle(member)
    member.beat(subscribed_topic_names=[])
    scene.settle(member)
    assert member.count_owned == 1


def test_an_expression_that_matches_nothing_has_no_epoch_of_its_own() -> None:
    scene = Consumers({"b": 1})
    member = scene.member(regex="a.*")
    member.join()
    scene.world.advance(0)
    assert scene.group.head.epoch == 1
    assert scene.group.regexes.get("a.*") is not None


def test_another_expression_waits_for_the_pause_to_be_over() -> None:
    scene = Consumers({"a1": 1, "b1": 2})
    member = scene.member(regex="a.*")
    member.join()
    wait(scene, member, milliseconds=HEARTBEAT_MS)
    member.beat(subscribed_topic_regex="b.*")
    assert "a.*" not in scene.group.regexes
    scene.world.advance(0)
    # As in Kafka: the pause goes by the expressions that are known, of which there are none now.
    wait(scene, member, milliseconds=2 * HEARTBEAT_MS)
    assert member.owned == {scene.id_of("b1"): [0, 1]}


def test_an_invalid_expression_changes_nothing() -> None:
    scene = Consumers({"a1": 1})
    member = scene.member("a1")
    member.join()
    before = state(scene.shard)
    assert member.beat(subscribed_topic_regex="(").error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert state(scene.shard) == before


def test_expressions_are_in_the_log() -> None:
    scene = Consumers({"a1": 1})
    member = scene.member(regex="a.*")
    member.join()
    scene.world.advance(0)
    scene.settle(member)
    before = state(scene.shard)
    scene.restart()
    assert state(scene.shard) == before
    assert member.beat().member_epoch == 2


def test_many_topics_are_looked_at_in_slices_of_time() -> None:
    scene = Consumers({f"t{index}": 1 for index in range(1000)})
    steps = iter(range(10_000))
    resolution = Resolution(["t\\d+", "t1", "t[0-4]+"], scene.image, lambda _: True, 5)
    rounds = 1
    while not resolution.run(lambda: next(steps) % 3 == 2):
        rounds += 1
    assert rounds > 5
    found = resolution.result()
    assert (len(found["t\\d+"].topics), found["t1"].topics) == (1000, ("t1",))
    assert found["t\\d+"].topics == tuple(sorted(found["t\\d+"].topics))


REASONS = {
    "[a": "missing closing ]",
    "(a": "missing closing )",
    "a**": "invalid nested repetition operator",
    "*a": "missing argument to repetition operator",
    "a\\": "trailing backslash at end of expression",
    "\\8": "invalid escape sequence",
    "a{1001}": "invalid repeat count",
    "(?P<n": "invalid named capture",
    "[b-a]": "invalid character class range",
    "(?=a)": "invalid or unsupported Perl syntax",
}


@pytest.mark.parametrize("regex", REASONS)
def test_why_an_expression_is_not_valid_is_told_as_re2j_tells_it(regex: str) -> None:
    with pytest.raises(KafkaError) as caught:
        compile_subscription(regex)
    assert caught.value.code is ErrorCode.INVALID_REGULAR_EXPRESSION
    expected = f"SubscribedTopicRegex `{regex}` is not a valid regular expression: {REASONS[regex]}."
    assert caught.value.message == expected


@pytest.mark.parametrize("regex", ["((((a{100}){100}){100}){100})", "(a|b|c)?" * 30_000])
def test_an_expression_that_would_be_enormous_is_refused(regex: str) -> None:
    with pytest.raises(KafkaError):
        compile_subscription(regex)


def test_what_groups_match_is_not_kept() -> None:
    """Thousands of them would take gigabytes while one name is looked at."""
    matched = cast("re.Match[str]", compile_subscription("(a|b|c)?" * 1000).fullmatch("a" * 249))
    assert matched.groups() == ()


def test_who_is_refused_takes_no_static_members_place() -> None:
    """Who left for a while has its session until it ends."""
    scene = Consumers({"a1": 1})
    member = scene.member("a1", instance="one")
    member.join()
    member.leave(STATIC_LEAVING_EPOCH)
    answer = scene.member(regex="(", instance="one").join()
    assert answer.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert len(scene.group.members)
    scene.world.advance(SESSION_MS)
    assert not len(scene.group.members)


def test_without_the_library_the_client_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    scene = Consumers({"a1": 1})
    answer = scene.member(regex="a.*").join()
    assert answer.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert "google-re2" in (answer.error_message or "")
    assert scene.member("a1").join().error_code == ErrorCode.NONE


def test_requests_are_answered_while_many_topics_are_looked_at() -> None:
    scene = Consumers({f"t{index}": 1 for index in range(1000)})
    scene.look_ms = 0.1
    member = scene.member(regex="t.*")
    member.join()
    turns = 0
    while not len(scene.group.regexes):
        scene.world.advance(10)
        assert member.beat().error_code == ErrorCode.NONE
        turns += 1
    assert turns > 5
    scene.settle(member)
    assert member.count_owned == 1000


def test_the_last_member_that_leaves_takes_its_expression_along() -> None:
    scene = Consumers({"a1": 1})
    first, second = scene.member(regex="a.*"), scene.member("a1")
    first.join()
    second.join()
    scene.world.advance(0)
    first.leave()
    assert len(scene.group.regexes) == 0
    assert scene.group.subscriptions.topics == {"a1": 1}


def test_an_expression_stays_as_long_as_one_member_uses_it() -> None:
    scene = Consumers({"a1": 1, "b1": 1})
    first, second = scene.member(regex="a.*"), scene.member(regex="a.*")
    first.join()
    second.join()
    scene.world.advance(0)
    scene.settle(first, second)
    first.beat(subscribed_topic_regex="", subscribed_topic_names=["b1"])
    assert "a.*" in scene.group.regexes
    scene.settle(first, second)
    assert list(second.owned) == [scene.id_of("a1")]


def test_the_hash_is_that_of_the_topics_which_are_left() -> None:
    scene = Consumers({"a1": 1, "b1": 1})
    first, second = scene.member("b1", regex="a.*"), scene.member("b1", regex="a.*")
    first.join()
    second.join()
    scene.world.advance(0)
    scene.settle(first, second)
    hashes = TopicHashes(lambda: scene.image)
    first.beat(subscribed_topic_regex="")
    assert scene.group.head.metadata_hash == hashes.group_hash(["a1", "b1"])
    second.beat(subscribed_topic_regex="")
    assert scene.group.head.metadata_hash == hashes.group_hash(["b1"])


def test_a_restart_looks_for_topics_that_came_meanwhile() -> None:
    scene = Consumers({"a1": 1})
    member = scene.member(regex="a.*")
    member.join()
    wait(scene, member, milliseconds=HEARTBEAT_MS)
    scene.put_topic("a2", 1)
    scene.restart()
    wait(scene, member, milliseconds=REFRESH_PAUSE_MS + 3 * HEARTBEAT_MS)
    assert member.count_owned == 2
