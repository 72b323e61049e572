"""States that hardly come about by themselves, and in which bugs of replication and of the quorum show."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

from odradek.ports import Promise, spawn
from tests.sim.cluster.machine import Machine
from tests.sim.cluster.means import Means, asking
from tests.sim.cluster.network import Link
from tests.sim.cluster.view import Led, is_outlived, leads_quorum, log_of, newest_leaders

LONGER_THAN_SESSIONS_MS = 7000.0
"""A broker that is away for that long leads nothing any more."""
_ISR_SHRINKS_WITHIN_MS = 10_000.0
_STARTS_WITHIN_MS = 20_000.0
_FALLS_BEHIND_WITHIN_MS = 5000.0


class RareStates:
    """Each scenario is a sequence of faults; only one runs at a time."""

    def __init__(self, means: Means, topic: str) -> None:
        self.is_busy = False
        """A scenario counts on it that nothing else fails meanwhile."""
        self._means = means
        self._topic = topic
        self._random = means.random

    def run(self, scenario: Callable[[], Coroutine[Promise[object], None, None]]) -> None:
        """Begin one."""

        def ended(outcome: Promise[None]) -> None:
            self.is_busy = False
            if outcome.error is not None:
                self._means.kernel.raises(outcome.error)

        self.is_busy = True
        spawn(scenario()).on_done(ended)

    def voted(self, voter: Machine, candidate: int, epoch: int) -> None:
        """A vote was given, and may get lost: the voter dies at once, and the candidate is not heard for a while.

        Whoever comes back without its vote gives another one to the third node, in the same epoch.
        """
        means = self._means
        if means.is_over or self.is_busy or self._random.random() > 0.3:
            return
        if not means.may_die(voter):
            return
        (elected,) = (machine for machine in means.machines if machine.node_id == candidate)
        means.note(f"{voter.host} dies with its vote for {elected.host} in epoch {epoch}")
        links = [link for link in means.between(elected, means.machines) if link != (voter.host, elected.host)]
        means.block(links)

        def die() -> None:
            voter.kill()
            voter.boot()

        means.kernel.at(0, None, lambda: None if means.is_over else die())
        means.later(4000, 8000, lambda: means.unblock(links))

    async def lagging_successor(self) -> None:
        """The leader goes while the one that comes next has less of the log than the third one."""
        means, led = self._means, self._any_leader()
        if led is None:
            return
        successor = self._machine(next(each for each in led.partition.replicas if each != led.machine.node_id))
        links = means.replication(successor, [led.machine])
        means.note(f"{successor.host} lags behind {led.machine.host} in {led.partition.topic_partition}, which dies")
        means.slow(links, self._random.uniform(100, 800))
        await means.sleep(self._random.uniform(500, 3000))
        if self._random.random() < 0.7:
            means.kill(led.machine)
            means.reboots(led.machine, 0, 2 * LONGER_THAN_SESSIONS_MS)
            means.unslow(links)
        else:
            cut = means.between(led.machine, means.machines)
            means.block(cut)
            means.unslow(links)
            await means.sleep(self._random.uniform(200, 2 * LONGER_THAN_SESSIONS_MS))
            means.unblock(cut)

    async def lonely_leader(self) -> None:
        """The leader is alone in the ISR, with all others eligible, and goes."""
        means, led = self._means, self._any_leader()
        if led is None:
            return
        leader, partition = led
        links = means.replication(leader, means.machines)
        means.note(f"nobody replicates {partition.topic_partition} from {leader.host}, which dies then")
        means.block(links)
        await means.until(_ISR_SHRINKS_WITHIN_MS, lambda: partition.isr == (leader.node_id,) or not leader.is_started)
        await means.sleep(self._random.uniform(0, 1000))
        means.kill(leader)
        means.unblock(links)
        away_ms = self._random.choice([0.0, LONGER_THAN_SESSIONS_MS])
        means.reboots(leader, away_ms, away_ms + 3000)

    async def lost_member(self) -> None:
        """A member of an ISR of two loses what it has not synced, comes back, and then the leader goes.

        That no committed record gets lost by it takes a controller that does not let the member lead (KIP-966).
        """
        means, led = self._means, self._any_leader()
        if led is None or len(led.partition.replicas) != 3:
            return
        leader, partition = led
        followers = [self._machine(each) for each in partition.replicas if each != leader.node_id]
        self._random.shuffle(followers)
        member, outsider = followers
        means.note(f"{member.host} loses what it has of {partition.topic_partition}, and then {leader.host} dies")
        links = means.replication(outsider, means.machines)
        means.block(links)
        in_sync = {leader.node_id, member.node_id}
        shrunk = await means.until(_ISR_SHRINKS_WITHIN_MS, lambda: set(partition.isr) == in_sync)
        if shrunk and leader.is_started and member.is_started and partition.is_leader:
            await means.sleep(self._random.uniform(200, 2000))
            if is_outlived(member, means.machines):
                await self._lose(member, leader, links)
        means.unblock(links)

    async def _lose(self, member: Machine, leader: Machine, links: Sequence[Link]) -> None:
        """As `lost_member` goes on; `links` are unblocked when the leader has gone."""
        means = self._means
        cut = means.replication(member, means.machines)
        means.block(cut)
        member.lose_power()
        await means.sleep(self._random.uniform(100, 1000))
        means.boot(member)
        if await means.until(_STARTS_WITHIN_MS, lambda: member.is_started):
            leader.kill()
            means.unblock(links)
            await means.sleep(self._random.uniform(1, 1.5) * LONGER_THAN_SESSIONS_MS)
            means.boot(leader)
        means.unblock(cut)

    async def stale_candidate(self) -> None:
        """A voter that has missed committed metadata is back just when the quorum's leader goes."""
        means, leader = self._means, self._quorum_leader()
        if leader is None:
            return
        voter = self._random.choice(
            [machine for machine in means.machines if machine.is_voter and machine is not leader]
        )
        means.note(f"{voter.host} misses metadata, and then {leader.host} dies")
        links = means.between(voter, means.machines)
        means.block(links)
        await means.sleep(self._random.uniform(0.5, 1.5) * LONGER_THAN_SESSIONS_MS)
        means.kill(leader)
        # The third one has all, and would be elected if it could ask for votes.
        silent = [link for other in means.machines if other not in (leader, voter) for link in asking(other, voter)]
        means.block(silent)
        means.unblock(links)
        await means.until(self._random.uniform(2000, 10_000), lambda: leads_quorum(voter))
        means.unblock(silent)
        await means.sleep(self._random.uniform(500, 3000))
        means.boot(leader)

    async def split_vote(self) -> None:
        """The quorum's leader goes, and the others ask for votes in the same epoch before they hear of each other."""
        means, leader = self._means, self._quorum_leader()
        if leader is None:
            return
        voters = [machine for machine in means.machines if machine.is_voter and machine is not leader]
        links = [link for one in voters for other in voters if one is not other for link in asking(one, other)]
        means.note(f"{leader.host} dies, and the other voters hear of each other late")
        means.slow(links, self._random.uniform(300, 700))
        means.kill(leader)
        await means.sleep(self._random.uniform(4000, 8000))
        means.unslow(links)
        means.boot(leader)

    async def late_watermark(self) -> None:
        """A follower has more than the one that leads next, and its high watermark is behind what is committed.

        It may cut what the new leader does not have, but nothing that is committed, of which it does not know
        (KIP-101); and it gets what it cuts again so late that it could be elected without.
        """
        means, led = self._means, self._any_leader()
        if led is None or not len(led.partition.replicas) == len(led.partition.isr) == 3:
            return
        leader, partition = led
        successor, follower = [self._machine(each) for each in partition.replicas if each != leader.node_id]
        name = partition.topic_partition
        means.note(f"{follower.host} knows late what is committed of {name}, and has more than {successor.host}")
        late = means.replication(successor, [leader])
        means.slow(late, self._random.uniform(100, 600))

        def is_behind() -> bool:
            logs = [log_of(machine, name) for machine in (leader, successor, follower)]
            if not partition.is_leader or None in logs:
                return False
            leaders, next_one, other = (log for log in logs if log is not None)
            return other.high_watermark < leaders.high_watermark and next_one.log_end_offset < other.log_end_offset

        if await means.until(_FALLS_BEHIND_WITHIN_MS, is_behind, every_ms=5):
            refetch = means.replication(follower, [successor])
            means.slow(refetch, self._random.uniform(300, 700))
            # Nor does the successor get what is under way.
            means.block(late)
            means.kill(leader)
            await means.sleep(self._random.uniform(1, 1.5) * LONGER_THAN_SESSIONS_MS)
            means.unblock(late)
            means.unslow(refetch)
            means.boot(leader)
        means.unslow(late)

    def _quorum_leader(self) -> Machine | None:
        leading = [machine for machine in self._means.machines if leads_quorum(machine)]
        return leading[-1] if leading else None

    def _any_leader(self) -> Led | None:
        found = list(newest_leaders(self._means.machines, self._topic).values())
        return self._random.choice(found) if found else None

    def _machine(self, node_id: int) -> Machine:
        (found,) = (machine for machine in self._means.machines if machine.node_id == node_id)
        return found
