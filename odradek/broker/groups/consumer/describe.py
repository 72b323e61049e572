"""ConsumerGroupDescribe of one group, as of the committed log."""

from __future__ import annotations

from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.member import NO_TARGET, ConsumerMember, Target
from odradek.metadata.image import TopicsImage
from odradek.wire.messages.consumer_group_describe import Assignment, DescribedGroup, Member, TopicPartitions

_CLASSIC_MEMBER = 0
_CONSUMER_MEMBER = 1


def describe(group: ConsumerGroup, default_assignor: str, topics: TopicsImage) -> DescribedGroup:
    """The group with its members, and what they have and are to have of topics that exist."""
    head = group.committed_head
    members = [member for _, member in group.members.committed_items()]
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.committed_state().value,
        group_epoch=head.epoch,
        assignment_epoch=head.assignment_epoch,
        assignor_name=group.subscriptions.preferred_assignor(default_assignor, None, None),
        members=[_member(group, member, topics) for member in members],
    )


def _member(group: ConsumerGroup, member: ConsumerMember, topics: TopicsImage) -> Member:
    held: dict[bytes, tuple[int, ...]] = {}
    for partitions in (member.assigned, member.pending_revocation):
        for topic_id, epochs in partitions.items():
            held[topic_id] = tuple(sorted((*held.get(topic_id, ()), *epochs)))
    return Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topic_names),
        subscribed_topic_regex=member.topic_regex,
        assignment=_assignment(held, topics),
        target_assignment=_assignment(group.targets.committed(member.member_id) or NO_TARGET, topics),
        member_type=_CONSUMER_MEMBER if member.classic is None else _CLASSIC_MEMBER,
    )


def _assignment(target: Target, topics: TopicsImage) -> Assignment:
    named = ((topics.by_id.get(topic_id), partitions) for topic_id, partitions in target.items())
    return Assignment(
        topic_partitions=[
            TopicPartitions(topic_id=image.id, topic_name=image.name, partitions=list(partitions))
            for image, partitions in named
            if image is not None
        ]
    )
