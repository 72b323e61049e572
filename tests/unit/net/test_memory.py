"""The node-wide budget of request memory, and the buffers that draw on it: nobody starves, and nothing adds up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.net.frames import GROWTH_FACTOR, FrameBuffer, Spares
from odradek.net.memory import (
    ALLOWANCE_BYTES,
    SLOW_SENDER_BYTES_PER_CHECK,
    SLOW_SENDER_CHECKS,
    Lease,
    RequestMemory,
)


class User:
    def __init__(self, name: str = "") -> None:
        self.name = name
        self.grants = 0
        self.evicted = False
        self.lease: Lease | None = None

    def memory_granted(self) -> None:
        self.grants += 1

    def give_up_slow_frame(self) -> None:
        self.evicted = True
        if self.lease is not None:
            self.lease.close()


def leases(memory: RequestMemory, count: int) -> list[tuple[User, Lease]]:
    pairs = []
    for number in range(count):
        user = User(str(number))
        user.lease = memory.lease(user)
        pairs.append((user, user.lease))
    return pairs


def test_within_the_budget_memory_is_granted_at_once() -> None:
    memory = RequestMemory(1000)
    (_, a), (_, b) = leases(memory, 2)
    assert a.grow(400)
    assert b.grow(400)
    assert a.grow(600)
    assert memory.held_bytes == 1000
    assert memory.exhausted
    a.close()
    a.close()
    assert memory.held_bytes == 400


def test_the_first_in_the_queue_goes_beyond_the_budget_and_the_others_wait_in_order() -> None:
    memory = RequestMemory(1000)
    (_, a), (user_b, b), (user_c, c), (user_d, d) = leases(memory, 4)
    assert a.grow(900)
    assert b.grow(500)
    assert not c.grow(500)
    assert not d.grow(1)
    assert b.grow(5000)
    assert memory.held_bytes == 5900
    b.close()
    assert (user_c.grants, user_d.grants) == (1, 0), "the next one may go beyond"
    a.close()
    assert user_d.grants == 1
    assert user_b.grants == 0
    assert memory.held_bytes == 501


def test_a_frame_that_has_arrived_keeps_its_place_beyond_the_budget_until_it_is_answered() -> None:
    memory = RequestMemory(1000)
    (_, a), (user_b, b) = leases(memory, 2)
    assert a.grow(2000)
    assert not b.grow(2000)
    a.complete()
    assert user_b.grants == 0
    a.close()
    assert user_b.grants == 1


def test_a_small_frame_does_not_overtake_a_large_one_that_waits() -> None:
    memory = RequestMemory(1000)
    (_, a), (_, b), (user_c, c), (user_d, d) = leases(memory, 4)
    assert a.grow(900)
    assert b.grow(200)
    assert not c.grow(900)
    a.close()
    assert not d.grow(10), "there is room for it, but another was first"
    b.close()
    assert (user_c.grants, user_d.grants) == (1, 1)


def test_who_leaves_the_queue_is_not_served() -> None:
    memory = RequestMemory(1000)
    (_, a), (user_b, b), (user_c, c) = leases(memory, 3)
    assert a.grow(2000)
    assert not b.grow(10)
    assert not c.grow(10)
    b.close()
    a.close()
    assert (user_b.grants, user_c.grants) == (0, 1)
    assert memory.held_bytes == 10


def test_parked_requests_count_and_answering_them_serves_the_queue() -> None:
    memory = RequestMemory(1000)
    (_, a), (user_b, b) = leases(memory, 2)
    memory.charge(1000)
    assert a.grow(10), "one may always go beyond"
    assert not b.grow(10)
    memory.discharge(1000)
    assert user_b.grants == 1
    assert memory.held_bytes == 20


def test_a_larger_budget_serves_the_queue() -> None:
    memory = RequestMemory(1000)
    (_, a), (user_b, b) = leases(memory, 2)
    assert a.grow(2000)
    assert not b.grow(500)
    memory.set_limit(2500)
    assert user_b.grants == 1


def test_slow_senders_are_given_up_only_while_others_wait() -> None:
    memory = RequestMemory(1000)
    (slow, a), (quick, b), (waiting, c) = leases(memory, 3)
    assert a.grow(500)
    assert b.grow(1000)
    for _ in range(2 * SLOW_SENDER_CHECKS):
        memory.check_progress()
    assert not slow.evicted, "nobody waits"
    assert not c.grow(100)
    for check in range(SLOW_SENDER_CHECKS):
        assert not slow.evicted, f"before check {check}"
        a.received += SLOW_SENDER_BYTES_PER_CHECK - 1
        b.received += SLOW_SENDER_BYTES_PER_CHECK
        memory.check_progress()
    assert slow.evicted
    assert not quick.evicted
    assert not waiting.evicted, "waiting is not being slow"
    assert memory.evicted == 1


def test_a_frame_that_has_arrived_is_not_slow() -> None:
    memory = RequestMemory(1000)
    (parked, a), (_, b) = leases(memory, 2)
    assert a.grow(2000)
    a.complete()
    assert not b.grow(1)
    for _ in range(2 * SLOW_SENDER_CHECKS):
        memory.check_progress()
    assert not parked.evicted


PATTERN = bytes(range(251)) * 8000


class FrameUser:
    """Delivers one frame's bytes as its buffer takes them."""

    def __init__(self, memory: RequestMemory, spares: Spares, length: int) -> None:
        self.spares = spares
        self.sent = min(1000, length)
        self.data = PATTERN[:length]
        self.frame = FrameBuffer(length, memoryview(self.data)[: self.sent], memory, spares, self)

    def memory_granted(self) -> None:
        self.frame.granted()

    def give_up_slow_frame(self) -> None:
        raise AssertionError("nobody is slow here")

    def step(self, size: int) -> bool:
        """Deliver up to `size` bytes; True once the frame is whole and given back."""
        if self.frame.blocked:
            return False
        size = min(size, len(self.frame.room))
        self.frame.room[:size] = self.data[self.sent : self.sent + size]
        self.sent += size
        self.frame.received(size)
        if not self.frame.complete:
            return False
        assert bytes(self.frame.view[: self.frame.length]) == self.data
        self.frame.close()
        self.spares.give(self.frame.view)
        return True


@given(
    lengths=st.lists(st.integers(1001, 2_000_000), min_size=1, max_size=12),
    limit=st.integers(1, 4_000_000),
    steps=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 300_000)), max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_every_frame_arrives_whatever_the_budget_and_the_order(
    lengths: list[int], limit: int, steps: list[tuple[int, int]]
) -> None:
    memory = RequestMemory(limit)
    spares = Spares()
    users = [FrameUser(memory, spares, length) for length in lengths]
    for index, size in steps:
        if users:
            user = users[index % len(users)]
            if user.step(size):
                users.remove(user)
        assert memory.held_bytes <= limit + max(lengths)
    for _ in range(100):
        users = [user for user in users if not user.step(500_000)]
    assert users == []
    assert memory.held_bytes == 0
    assert memory.waiting == 0


def test_a_buffer_follows_the_bytes_that_have_arrived() -> None:
    memory = RequestMemory(10**9)
    frame = FrameBuffer(100_000_000, memoryview(bytes(5000)), memory, Spares(), User())
    while frame.filled < 10_000_000:
        assert len(frame.view) <= GROWTH_FACTOR * frame.filled
        frame.received(min(1000, len(frame.room)))
    assert memory.held_bytes == len(frame.view)


def test_small_frames_need_no_budget() -> None:
    memory = RequestMemory(1)
    memory.charge(100)
    frame = FrameBuffer(ALLOWANCE_BYTES, memoryview(b""), memory, Spares(), User())
    while not frame.complete:
        frame.received(len(frame.room))
        assert not frame.blocked


def test_a_spare_buffer_is_used_again_for_a_frame_of_its_size() -> None:
    memory = RequestMemory(10**9)
    spares = Spares()
    frame = FrameBuffer(1_000_000, memoryview(bytes(300_000)), memory, spares, User())
    frame.received(len(frame.room))
    frame.close()
    spares.give(frame.view)
    again = FrameBuffer(900_000, memoryview(b"x"), memory, spares, User())
    assert again.view.obj is frame.view.obj
    assert len(again.room) == 899_999
    assert memory.held_bytes == 1_000_000
