"""A map with a committed view, held against a model that keeps every version."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odradek.broker.coordinator.timeline import Timeline, TimelineMap

KEYS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("commit"), st.integers(0, 3)),
        st.tuples(st.just("revert"), st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=3)),
    ),
    max_size=40,
)


@given(STEPS)
def test_both_views_follow_the_model(steps: list[tuple[object, ...]]) -> None:
    timeline = Timeline()
    map_: TimelineMap[str, int] = TimelineMap(timeline)
    versions: list[dict[str, int]] = [{}]
    for step in steps:
        latest = dict(versions[-1])
        if step[0] == "commit":
            assert isinstance(step[1], int)
            timeline.commit(min(timeline.committed_end + step[1], timeline.next_offset))
        elif step[0] == "revert":
            mark = timeline.mark()
            assert isinstance(step[1], list)
            for key, value in step[1]:
                map_.set(key, value)
            timeline.revert(mark)
        else:
            key = str(step[1])
            if step[0] == "set":
                assert isinstance(step[2], int)
                map_.set(key, step[2])
                latest[key] = step[2]
            else:
                assert map_.remove(key) == latest.pop(key, None)
            timeline.next_offset += 1
            versions.append(latest)
        assert dict(map_.items()) == versions[-1]
        committed = versions[timeline.committed_end]
        assert dict(map_.committed_items()) == committed
        assert {key: map_.committed(key) for key in "abc"} == {key: committed.get(key) for key in "abc"}
    timeline.commit(timeline.next_offset)
    assert timeline.is_settled
    assert map_.is_gone == (not versions[-1])
