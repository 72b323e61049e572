"""Kafka's own command line tools on a cluster: what operators type, and what they are told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compat.cluster.nodes import IDS, RECORDS, Nodes, fill, rack
from tests.kafka_files.dump import complaints, dump
from tests.support.apache import Unavailable, tools_libs
from tests.support.control_plane import State, await_states, in_sync, moving, reassign, states
from tests.support.kafka_tools import KafkaTools, Ran
from tests.support.process import wait_for
from tests.support.program import JAVA_OPTIONS, Program

Run = Callable[..., Ran]
TOPICS, REASSIGN, LEADERS, QUORUM, FEATURES, CLUSTER = (
    "TopicCommand",
    "reassign.ReassignPartitionsCommand",
    "LeaderElectionCommand",
    "MetadataQuorumCommand",
    "FeatureCommand",
    "ClusterTool",
)
SLOW_BYTES_PER_SECOND = "1"
UNKNOWN_TO_THE_TOOL = "Unknown metadata id 29"
"""The tool is of 4.3; this record, the end of a controller's registration, came with 4.4."""


@pytest.fixture(scope="module")
def tools() -> Iterator[KafkaTools]:
    try:
        tools = KafkaTools()
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka's tools cannot be run: {missing}")
    with tools:
        yield tools


@pytest.fixture
def run(tools: KafkaTools, nodes: Nodes) -> Run:
    """Runs a tool on the cluster; it has to succeed unless `fails`."""

    def tool(name: str, *arguments: str, fails: bool = False, controllers: bool = False) -> Ran:
        address = ("--bootstrap-controller", nodes.controllers)
        if not controllers:
            address = ("--bootstrap-server", nodes.bootstrap_servers)
        # Some tools take options in front of their subcommand, and others behind it.
        ordered = (*arguments, *address) if name == CLUSTER else (*address, *arguments)
        ran = tools.run(name, *ordered)
        assert (ran.code != 0) == fails, ran
        return ran

    return tool


@pytest.fixture
def file(tmp_path: Path) -> Callable[[object], str]:
    """Writes JSON into a file of its own, and says where."""

    def write(content: object) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(json.dumps(content))
        return str(path)

    return write


def plan(topic: str, *replicas: list[int]) -> object:
    moves = [{"topic": topic, "partition": index, "replicas": each} for index, each in enumerate(replicas)]
    return {"version": 1, "partitions": moves}


def rows(table: str) -> list[list[str]]:
    """The lines of a tool's table, without its heading."""
    return [line.split() for line in table.splitlines() if line.strip()][1:]


def described(text: str) -> list[str]:
    """Leader, replicas and ISR of each partition in a description of topics."""
    return re.findall(r"Partition: \d+\t(Leader: \S+\tReplicas: \S+\tIsr: [\d,]*)", text)


@pytest.mark.parametrize("controllers", [False, True])
def test_the_quorum(run: Run, nodes: Nodes, controllers: bool) -> None:
    status = run(QUORUM, "describe", "--status", controllers=controllers).out
    found = dict(line.split(":", 1) for line in status.splitlines())
    active = nodes.active_controller()
    assert (int(found["LeaderId"]), int(found["MaxFollowerLag"])) == (active, 0)
    voters = json.loads(found["CurrentVoters"])
    assert {voter["id"]: voter["endpoints"] for voter in voters} == {
        node_id: [f"CONTROLLER://{node.host}:{node.controller_port}"] for node_id, node in nodes.nodes.items()
    }
    assert found["CurrentObservers"].strip() == "[]"
    replication = rows(run(QUORUM, "describe", "--replication", controllers=controllers).out)
    directories = {str(voter["id"]): voter["directoryId"] for voter in voters}
    assert {(node, directory, lag, role) for node, directory, _end, lag, _fetched, _caught_up, role in replication} == {
        (node, directory, "0", "Leader" if int(node) == active else "Follower")
        for node, directory in directories.items()
    }


def test_a_controller_leaves_the_quorum_and_returns(run: Run, nodes: Nodes) -> None:
    """KIP-853."""

    def voters() -> dict[int, str]:
        status = run(QUORUM, "describe", "--status").out
        found = dict(line.split(":", 1) for line in status.splitlines())
        return {voter["id"]: voter["directoryId"] for voter in json.loads(found["CurrentVoters"])}

    node_id = next(node_id for node_id in IDS if node_id != nodes.active_controller())
    directory = voters()[node_id]
    wrong = run(
        QUORUM, "remove-controller", "-i", str(node_id), "-d", "RANDOMdirectoryAAAAAAA", controllers=True, fails=True
    )
    assert "VoterNotFoundException" in wrong.out + wrong.err
    removed = run(QUORUM, "remove-controller", "-i", str(node_id), "-d", directory, controllers=True).out
    assert removed == f"Removed  KRaft controller {node_id} with directory id {directory}\n"
    assert set(voters()) == set(IDS) - {node_id}
    config = str(nodes.nodes[node_id].config)
    added = run(QUORUM, "--command-config", config, "add-controller", controllers=True).out
    assert added.startswith(f"Added controller {node_id} with directory id {directory} and endpoints: CONTROLLER://")
    assert (set(voters()), voters()[node_id]) == (set(IDS), directory)


def test_topics(run: Run, nodes: Nodes, new_topic: str) -> None:
    by_hand = f"{new_topic}-by-hand"
    created = run(TOPICS, "--create", "--topic", by_hand, "--replica-assignment", "1:2,2:3").out
    assert created == f"Created topic {by_hand}.\n"
    wide = ["--partitions", "3", "--replication-factor", "3", "--config", "min.insync.replicas=2"]
    run(TOPICS, "--create", "--topic", new_topic, *wide)
    await_states(nodes.any(), by_hand, in_sync(1, 2), in_sync(2, 3))
    head, *partitions = run(TOPICS, "--describe", "--topic", by_hand).out.splitlines()
    assert "PartitionCount: 2\tReplicationFactor: 2\t" in head
    assert described("\n".join(partitions)) == [
        "Leader: 1\tReplicas: 1,2\tIsr: 1,2",
        "Leader: 2\tReplicas: 2,3\tIsr: 2,3",
    ]
    run(TOPICS, "--alter", "--topic", by_hand, "--partitions", "3", "--replica-assignment", "1:2,2:3,3:1")
    await_states(nodes.any(), by_hand, in_sync(1, 2), in_sync(2, 3), in_sync(3, 1))
    refused = run(TOPICS, "--create", "--topic", f"{new_topic}-x", "--replication-factor", "4", fails=True)
    assert "only 3 broker(s) are registered" in refused.out + refused.err
    for name in (new_topic, by_hand):
        run(TOPICS, "--delete", "--topic", name)
    assert not {new_topic, by_hand} & set(run(TOPICS, "--list").out.splitlines())


def test_topics_while_a_node_is_gone(run: Run, nodes: Nodes, new_topic: str) -> None:
    run(TOPICS, "--create", "--topic", new_topic, "--replica-assignment", "3:1,1:2,3", fails=True)
    run(
        TOPICS, "--create", "--topic", new_topic, "--replica-assignment", "3:1,1:2", "--config", "min.insync.replicas=2"
    )
    run(TOPICS, "--create", "--topic", f"{new_topic}-alone", "--replica-assignment", "3")
    await_states(nodes.any(), new_topic, in_sync(3, 1), in_sync(1, 2))
    flags = ("--under-replicated-partitions", "--under-min-isr-partitions", "--at-min-isr-partitions")

    def shown(flag: str, topic: str = new_topic) -> list[str]:
        return described(run(TOPICS, "--describe", "--topic", topic, flag).out)

    assert [shown(flag) for flag in flags[:2]] == [[], []]
    with nodes.without(3):
        left = ["Leader: 1\tReplicas: 3,1\tIsr: 1"]
        assert [shown(flag) for flag in flags] == [left, left, ["Leader: 1\tReplicas: 1,2\tIsr: 1,2"]]
        alone = ["Leader: none\tReplicas: 3\tIsr: "]
        assert shown("--unavailable-partitions", f"{new_topic}-alone") == alone
        fenced = {row[0]: row[4] for row in rows(run(CLUSTER, "list-endpoints", "--include-fenced-brokers").out)}
        assert fenced == {"1": "unfenced", "2": "unfenced", "3": "fenced"}
        assert {row[0] for row in rows(run(CLUSTER, "list-endpoints").out)} == {"1", "2"}
        refused = run(LEADERS, "--election-type", "preferred", "--topic", new_topic, "--partition", "0", fails=True)
        assert f"Error completing leader election (PREFERRED) for partition: {new_topic}-0" in refused.out + refused.err
        assert run(CLUSTER, "unregister", "--id", "3").out == "Broker 3 is no longer registered.\n"
        assert {row[0] for row in rows(run(CLUSTER, "list-endpoints", "--include-fenced-brokers").out)} == {"1", "2"}
    wait_for(lambda: shown(flags[0]) == [], "the node is in sync again")


def test_moves(run: Run, nodes: Nodes, new_topic: str, file: Callable[[object], str]) -> None:
    """Planned, begun with a throttle, looked at, cancelled, begun anew and verified, which ends the throttle."""
    run(TOPICS, "--create", "--topic", new_topic, "--replica-assignment", "1:2,2:3")
    await_states(nodes.any(), new_topic, in_sync(1, 2), in_sync(2, 3))
    fill(nodes.to(1), new_topic)
    topics = file({"version": 1, "topics": [{"topic": new_topic}]})
    planned = run(REASSIGN, "--generate", "--topics-to-move-json-file", topics, "--broker-list", "1,2").out
    current, proposed = (json.loads(line) for line in planned.splitlines() if line.startswith("{"))
    assert [each["replicas"] for each in current["partitions"]] == [[1, 2], [2, 3]]
    assert [sorted(each["replicas"]) for each in proposed["partitions"]] == [[1, 2], [1, 2]]
    where = [Path(each["log_dirs"][0]) for each in current["partitions"]]
    assert where == [nodes.nodes[1].data_dir, nodes.nodes[2].data_dir]

    moves = file(plan(new_topic, [2, 3]))
    options = ("--reassignment-json-file", moves)
    begun = run(REASSIGN, "--execute", *options, "--throttle", SLOW_BYTES_PER_SECOND).out
    assert f"Successfully started partition reassignment for {new_topic}-0" in begun
    assert f"The inter-broker throttle limit was set to {SLOW_BYTES_PER_SECOND} B/s" in begun
    listed = run(REASSIGN, "--list").out
    assert f"{new_topic}-0: replicas: 2,3,1. adding: 3. removing: 1." in listed
    progress = run(REASSIGN, "--verify", *options).out
    assert f"Reassignment of partition {new_topic}-0 is still in progress." in progress
    again = run(REASSIGN, "--execute", *options, fails=True)
    assert "Cannot execute because there is an existing partition assignment" in again.out + again.err
    cancelled = run(REASSIGN, "--cancel", *options).out
    assert f"Successfully cancelled partition reassignment for: {new_topic}-0" in cancelled
    await_states(nodes.any(), new_topic, State(1, [2, 1], [1, 2], [], [], []), in_sync(2, 3))
    assert "No partition reassignments found" in run(REASSIGN, "--list").out

    run(REASSIGN, "--execute", *options, "--throttle", SLOW_BYTES_PER_SECOND)
    assert moving(nodes.any(), new_topic)
    faster = run(REASSIGN, "--execute", *options, "--throttle", "100000000", "--additional").out
    assert "The inter-broker throttle limit was set to 100000000 B/s" in faster
    await_states(nodes.any(), new_topic, in_sync(2, 3), in_sync(2, 3))
    done = run(REASSIGN, "--verify", *options).out
    assert f"Reassignment of partition {new_topic}-0 is completed." in done
    assert f"Clearing topic-level throttles on topic {new_topic}" in done
    assert "throttled" not in run(TOPICS, "--describe", "--topic", new_topic).out


def test_elections(run: Run, nodes: Nodes, new_topic: str, file: Callable[[object], str]) -> None:
    run(TOPICS, "--create", "--topic", new_topic, "--replica-assignment", "1:2,1:3,2:3")
    await_states(nodes.any(), new_topic, in_sync(1, 2), in_sync(1, 3), in_sync(2, 3))
    assert reassign(nodes.any(), new_topic, {0: [2, 1], 1: [3, 1], 2: [3, 2]}) == dict.fromkeys(range(3), "NONE")
    wait_for(lambda: [each.replicas[0] for each in states(nodes.any(), new_topic)] == [2, 3, 3], "they are turned")
    wanted = file({"partitions": [{"topic": new_topic, "partition": 0}]})
    elected = run(LEADERS, "--election-type", "preferred", "--path-to-json-file", wanted).out
    assert elected == f"Successfully completed leader election (PREFERRED) for partitions {new_topic}-0\n"
    needless = run(LEADERS, "--election-type", "unclean", "--topic", new_topic, "--partition", "1").out
    assert needless == f"Valid replica already elected for partitions {new_topic}-1\n"
    rest = run(LEADERS, "--election-type", "preferred", "--all-topic-partitions").out
    assert f"{new_topic}-1" in rest
    assert f"{new_topic}-2" in rest
    assert f"{new_topic}-0" not in rest
    await_states(nodes.any(), new_topic, in_sync(2, 1), in_sync(3, 1), in_sync(3, 2))
    missing = run(LEADERS, "--election-type", "preferred", "--topic", "no-such", "--partition", "0", fails=True)
    assert "UnknownTopicOrPartition" in missing.out + missing.err


def test_features(run: Run) -> None:
    def levels() -> dict[str, str]:
        shown = run(FEATURES, "describe").out
        return dict(re.findall(r"^Feature: (\S+)\s.*FinalizedVersionLevel: (\S+)", shown, re.MULTILINE))

    begun_with = levels()
    assert begun_with["metadata.version"] == "4.4-IV2"
    assert {name: level for name, level in begun_with.items() if name != "metadata.version"} == {
        "eligible.leader.replicas.version": "1",
        "group.version": "1",
        "kraft.version": "1",
        "share.version": "2",
        "streams.version": "1",
        "transaction.version": "2",
    }
    lower = ("downgrade", "--feature", "transaction.version=1")
    assert run(FEATURES, *lower, "--dry-run").out == "transaction.version can be downgraded to 1.\n"
    assert levels() == begun_with
    assert run(FEATURES, *lower).out == "transaction.version was downgraded to 1.\n"
    wait_for(lambda: levels()["transaction.version"] == "1", "the level is down")
    higher = ("upgrade", "--feature", "transaction.version=2")
    assert run(FEATURES, *higher, "--dry-run").out == "transaction.version can be upgraded to 2.\n"
    assert run(FEATURES, *higher).out == "transaction.version was upgraded to 2.\n"
    wait_for(lambda: levels() == begun_with, "all levels are as before")
    refused = run(FEATURES, "downgrade", "--metadata", "4.0-IV3", "--unsafe", fails=True)
    assert "Unsafe metadata downgrade is not supported in this version." in refused.out
    unknown = run(FEATURES, "upgrade", "--feature", "no.such=1", fails=True)
    assert "does not support this feature" in unknown.out


def test_endpoints(run: Run, nodes: Nodes) -> None:
    assert run(CLUSTER, "cluster-id").out == "Cluster ID: 4L6g3nShT-eMCtK--X86sw\n"
    of_brokers = rows(run(CLUSTER, "list-endpoints").out)
    assert [row[:4] for row in of_brokers] == [
        [str(node_id), node.host, str(node.port), rack(node_id)] for node_id, node in nodes.nodes.items()
    ]
    of_controllers = rows(run(CLUSTER, "list-endpoints", controllers=True).out)
    assert [row[:3] for row in of_controllers] == [
        [str(node_id), node.host, str(node.controller_port)] for node_id, node in nodes.nodes.items()
    ]
    unknown = run(CLUSTER, "unregister", "--id", "77", fails=True)
    assert "Broker ID 77 is not currently registered" in unknown.err


def test_replicas_are_the_same(run: Run, nodes: Nodes, new_topic: str, tmp_path: Path) -> None:
    """ReplicaVerificationTool reads all replicas and compares checksums, until it is ended."""
    run(TOPICS, "--create", "--topic", new_topic, "--replica-assignment", "1:2:3")
    await_states(nodes.any(), new_topic, in_sync(1, 2, 3))
    fill(nodes.to(1), new_topic)
    options = ["--broker-list", nodes.bootstrap_servers, "--topics-include", new_topic, "--report-interval-ms", "200"]
    main = ["-cp", f"{tools_libs()}/*", "org.apache.kafka.tools.ReplicaVerificationTool"]
    program = Program(["java", *JAVA_OPTIONS, *main, *options], tmp_path, name="verification")
    program.start()
    try:
        found = f"max lag is 0 for partition {new_topic}-0 at offset {RECORDS} among 1 partitions"
        wait_for(lambda: found in program.output, "all replicas are read to their end", 30.0)
        assert "doesn't match" not in program.output
    finally:
        program.close()


def test_the_metadata_log_and_its_snapshots(run: Run, nodes: Nodes, new_topic: str) -> None:
    """DumpLogSegments reads them with the metadata decoder, and finds what happened."""
    run(TOPICS, "--create", "--topic", new_topic, "--replica-assignment", ",".join(["1:2:3"] * 40))
    directory = nodes.nodes[2].data_dir / "__cluster_metadata-0"

    def snapshots() -> list[Path]:
        return [path for path in sorted(directory.glob("*.checkpoint")) if not path.name.startswith("0" * 20)]

    wait_for(lambda: bool(snapshots()), "there is a snapshot")
    logs = dump(tools_libs(), sorted(directory.glob("*.log")), "--cluster-metadata-decoder")
    assert [line for line in complaints(logs) if UNKNOWN_TO_THE_TOOL not in line] == []
    assert f'"TOPIC_RECORD","version":0,"data":{{"name":"{new_topic}"' in logs
    kept = dump(tools_libs(), snapshots()[-1:], "--cluster-metadata-decoder")
    assert [line for line in complaints(kept) if UNKNOWN_TO_THE_TOOL not in line] == []
    assert "SnapshotHeader" in kept
    assert "KRaftVoters" in kept
    assert "SnapshotFooter" in kept
    brokers = re.findall(r'"REGISTER_BROKER_RECORD","version":\d,"data":\{"brokerId":(\d)', kept)
    assert sorted(brokers) == ["1", "2", "3"]
