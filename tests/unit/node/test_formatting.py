"""Formatting a node's directories, and which directories a node then starts with."""

from __future__ import annotations

import pytest

from odradek.config import BrokerConfig, single_node_defaults
from odradek.node import StartError
from odradek.node.data_dirs import DataDirs, open_data_dirs
from odradek.node.formatting import FormatError, FormatOptions, format_directories
from odradek.node.storage_info import storage_info
from odradek.quorum.formatting import MetaProperties
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.snapshots import read_snapshot
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet, VotersHistory
from odradek.storage.memory_files import MemoryFileSystem
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord
from odradek.wire.uuids import ZERO_UUID, uuid_from_string, uuid_to_string
from tests.unit.fakes import FakeWorld

CLUSTER = "4L6g3nShT-eMCtK--X86sw"
ONE, TWO, THREE = "aUARLskQTCW4qCZDtS_cwA", "K90IZ-0DRNazJ49kCZ1EMQ", "2ggvsS4kQb-fSJ_-zC_Ang"
COMBINED = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listeners": "PLAINTEXT://localhost:9092,CONTROLLER://:9093",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": "localhost:9093",
    "log.dirs": "/a,/b",
}
CONTROLLER = {**COMBINED, "process.roles": "controller", "listeners": "CONTROLLER://localhost:9093"}
BROKER = {**COMBINED, "process.roles": "broker", "listeners": "PLAINTEXT://localhost:9092"}
STATIC = {
    **COMBINED,
    "controller.quorum.bootstrap.servers": "",
    "controller.quorum.voters": "1@localhost:9093,2@localhost:9094",
}
CHECKPOINT = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"


class Node:
    """A node's files, and what is done to them."""

    def __init__(self, properties: dict[str, str]) -> None:
        self.files = MemoryFileSystem()
        self.config = BrokerConfig.load(properties)
        self.world = FakeWorld()

    def format(self, **options: object) -> list[str]:
        chosen = FormatOptions(**{"cluster_id": CLUSTER, **options})  # type: ignore[arg-type]  # each as named
        return list(format_directories(self.config, chosen, self.files, self.world, self.world))

    def refusal(self, **options: object) -> str:
        with pytest.raises(FormatError) as refused:
            self.format(**options)
        return str(refused.value)

    def open(self, **changes: str) -> DataDirs:
        names = {name.replace("_", "."): value for name, value in changes.items()}
        config = BrokerConfig.load({**self.config.originals, **names})
        return open_data_dirs(config, self.files, self.world, self.world)

    def problem(self, **changes: str) -> str:
        with pytest.raises(StartError) as refused:
            self.open(**changes)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def properties(self, path: str) -> MetaProperties:
        return MetaProperties.from_bytes(self.files.read(f"{path}/meta.properties"))

    def rewrite(self, path: str, **changes: object) -> None:
        """Put other ids into a directory."""
        properties = self.properties(path)._replace(**changes)  # type: ignore[arg-type]  # each as named
        self.files.write_atomically(f"{path}/meta.properties", properties.to_bytes(0))

    def bootstrap(self, path: str = "/a") -> tuple[VotersHistory, dict[str, int]]:
        """Who votes, and the features, as the checkpoint says."""
        history = VotersHistory()
        snapshot = read_snapshot(BOOTSTRAP_SNAPSHOT, self.files.read(f"{path}/{CHECKPOINT}"), history)
        levels = {each.name: each.feature_level for each in snapshot.records if isinstance(each, FeatureLevelRecord)}
        return history, levels


def test_a_standalone_controller_is_its_only_voter() -> None:
    node = Node(COMBINED)
    lines = node.format(standalone=True)
    assert lines[1:] == [
        "Formatting dynamic metadata voter directory /a with metadata.version 4.4-IV2.",
        "Formatting data directory /b with metadata.version 4.4-IV2.",
    ]
    assert lines[0].startswith(
        "Bootstrap metadata: BootstrapMetadata(records=[ApiMessageAndVersion(FeatureLevelRecord("
    )
    assert lines[0].endswith("metadataVersionLevel=33, source=format command)")
    history, levels = node.bootstrap()
    voter = VoterNode(1, node.properties("/a").directory_id, (VoterEndpoint("CONTROLLER", "localhost", 9093),))
    assert (history.kraft_version, history.voters) == (1, VoterSet((voter,)))
    assert levels["metadata.version"] == 33
    assert {node.properties(path)[:2] for path in ("/a", "/b")} == {(CLUSTER, 1)}
    assert node.properties("/a").directory_id != node.properties("/b").directory_id
    assert not node.files.exists(f"/b/{CHECKPOINT}")
    assert node.open().metadata_directory_id == voter.directory_id


def test_initial_controllers_give_each_node_its_directory_id() -> None:
    voters = f"1@localhost:9093:{ONE},2@localhost:9094:{TWO}"
    node = Node(COMBINED)
    assert node.format(initial_controllers=voters)[1].startswith("Formatting dynamic metadata voter directory /a ")
    assert node.properties("/a").directory_id == uuid_from_string(ONE)
    history, _levels = node.bootstrap()
    assert [voter.id for voter in history.voters.voters] == [1, 2]
    assert history.kraft_version == 1

    third = Node({**CONTROLLER, "node.id": "3"})
    assert third.format(initial_controllers=voters)[1].startswith("Formatting dynamic metadata directory /a ")
    assert third.properties("/a").directory_id not in (uuid_from_string(ONE), uuid_from_string(TWO))
    assert third.bootstrap()[0].voters == history.voters


def test_a_controller_that_joins_later_knows_no_voters_yet() -> None:
    node = Node(CONTROLLER)
    assert node.format(no_initial_controllers=True)[1].startswith("Formatting metadata directory /a ")
    history, levels = node.bootstrap()
    assert (history.kraft_version, history.voters) == (1, VoterSet())
    assert levels["metadata.version"] == 33


def test_static_voters_are_those_of_the_configuration() -> None:
    node = Node(STATIC)
    assert node.format()[1] == "Formatting metadata directory /a with metadata.version 4.4-IV2."
    history, _levels = node.bootstrap()
    assert (history.kraft_version, history.voters) == (0, VoterSet())


def test_a_broker_has_no_bootstrap_checkpoint() -> None:
    node = Node(BROKER)
    assert node.format()[1:] == [
        "Formatting metadata directory /a with metadata.version 4.4-IV2.",
        "Formatting data directory /b with metadata.version 4.4-IV2.",
    ]
    assert not node.files.exists("/a/__cluster_metadata-0")


def test_the_metadata_log_may_have_a_directory_of_its_own() -> None:
    node = Node({**COMBINED, "metadata.log.dir": "/M"})
    assert [line.split(" with ")[0] for line in node.format(standalone=True)[1:]] == [
        "Formatting dynamic metadata voter directory /M",
        "Formatting data directory /a",
        "Formatting data directory /b",
    ]
    assert node.bootstrap("/M")[0].kraft_version == 1


@pytest.mark.parametrize(
    ("properties", "options", "problem"),
    [
        (COMBINED, {}, "Because controller.quorum.voters is not set on this controller, you must specify one of the "),
        (STATIC, {"standalone": True}, "You cannot specify controller.quorum.voters and format the node with "),
        (STATIC, {"initial_controllers": f"1@a:1:{ONE}"}, "You cannot specify controller.quorum.voters and format "),
        (BROKER, {"standalone": True}, "You can only use --standalone on a controller."),
        (COMBINED, {"initial_controllers": "1@a"}, "No colon following hostname could be found."),
        (COMBINED, {"standalone": True, "features": ["kraft.version=0"]}, "Cannot set kraft.version to 0 if "),
        (STATIC, {"features": ["kraft.version=1"]}, "Cannot set kraft.version to 1 unless controller.quorum.voters is"),
        (STATIC, {"features": ["kraft.version"]}, "Can't parse feature=level string kraft.version: equals sign not "),
        (
            STATIC,
            {"features": ["group.version=40000"]},
            "Can't parse feature=level string group.version=40000: unable to parse 40000 as a short.",
        ),
        (STATIC, {"features": ["group.version=x"]}, "Can't parse feature=level string group.version=x: unable to "),
        (
            STATIC,
            {"features": ["no.version=1"]},
            "Unsupported feature: no.version. Supported features are: eligible.leader.replicas.version, group.",
        ),
        (STATIC, {"features": ["group.version=2"]}, "No feature:group.version with feature level 2"),
        (STATIC, {"features": ["metadata.version=6"]}, "No MetadataVersion with feature level 6. "),
        (STATIC, {"features": ["metadata.version=34"]}, "metadata.version 4.5-IV0 is not yet stable."),
        (
            STATIC,
            {"features": ["metadata.version=33"], "release_version": "4.4"},
            "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
        ),
        (STATIC, {"release_version": "9.9"}, "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3"),
        (
            STATIC,
            {"release_version": "4.0-IV0", "features": ["eligible.leader.replicas.version=1"]},
            "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23",
        ),
        (
            STATIC,
            {"release_version": "3.4", "scram": ["SCRAM-SHA-256=[name=a,password=b]"]},
            "SCRAM is only supported in metadata.version 3.5-IV2 or later.",
        ),
        (STATIC, {"scram": ["SCRAM"]}, "Failed to find equals sign in SCRAM argument 'SCRAM'"),
    ],
)
def test_what_kafka_refuses_is_refused_before_anything_is_written(
    properties: dict[str, str], options: dict[str, object], problem: str
) -> None:
    node = Node(properties)
    assert node.refusal(**options).startswith(problem)
    assert not node.files.exists("/a")


def test_features_follow_the_release_and_what_is_said_of_each() -> None:
    node = Node(COMBINED)
    lines = node.format(standalone=True, release_version="4.1", features=["group.version=0", "share.version=1"])
    assert lines[1].endswith("with metadata.version 4.1-IV1.")
    assert node.bootstrap()[1] == {
        "metadata.version": 27,
        "eligible.leader.replicas.version": 1,
        "share.version": 1,
        "transaction.version": 2,
    }


def test_users_are_there_from_the_start_and_their_keys_are_not_printed() -> None:
    node = Node(COMBINED)
    lines = node.format(standalone=True, scram=['SCRAM-SHA-256=[name=alice,password=secret,salt="N3E="]'])
    snapshot = read_snapshot(BOOTSTRAP_SNAPSHOT, node.files.read(f"/a/{CHECKPOINT}"), VotersHistory())
    (user,) = (record for record in snapshot.records if isinstance(record, UserScramCredentialRecord))
    assert (user.name, user.mechanism, user.salt) == ("alice", 1, b"7q")
    assert "alice" in lines[0]
    assert "secret" not in repr(FormatOptions(CLUSTER, scram=["password=secret"]))
    assert "storedKey" not in lines[0]


def test_directories_that_are_formatted_are_left_alone() -> None:
    node = Node({**COMBINED, "log.dirs": "/a"})
    node.format(standalone=True)
    before = node.files.read("/a/meta.properties"), node.files.read(f"/a/{CHECKPOINT}")
    assert node.refusal(standalone=True) == (
        "Log directory /a is already formatted. Use --ignore-formatted to ignore this directory and format the others."
    )
    assert node.format(standalone=True, ignore_formatted=True) == ["All of the log directories are already formatted."]
    node.config = BrokerConfig.load(COMBINED)
    assert node.refusal(standalone=True, ignore_formatted=True, cluster_id="other").startswith(
        "Invalid cluster.id in: /a/meta.properties. Expected other, but read "
    )
    assert node.format(standalone=True, ignore_formatted=True)[1:] == [
        "Formatting data directory /b with metadata.version 4.4-IV2."
    ]
    assert (node.files.read("/a/meta.properties"), node.files.read(f"/a/{CHECKPOINT}")) == before
    assert node.properties("/b").cluster_id == CLUSTER
    assert set(node.open().directory_ids) == {"/a", "/b"}


def test_another_nodes_directory_is_not_formatted_over() -> None:
    node = Node(COMBINED)
    node.format(standalone=True)
    node.config = BrokerConfig.load({**COMBINED, "node.id": "2", "log.dirs": "/a,/c"})
    assert node.refusal(standalone=True, ignore_formatted=True).startswith("/a belongs to node 1, and this is node 2")
    assert not node.files.exists("/c")


def test_a_damaged_directory_is_passed_over_with_a_line() -> None:
    node = Node(COMBINED)
    node.files.mkdir("/b")
    node.files.write_atomically("/b/meta.properties", b"version=9\n")
    lines = node.format(standalone=True)
    assert lines[0] == "I/O error trying to read log directory /b. Ignoring..."
    assert node.files.read("/b/meta.properties") == b"version=9\n"
    lone = Node({**COMBINED, "log.dirs": "/b"})
    lone.files = node.files
    assert lone.refusal(standalone=True) == "No available log directories to format."


# Which directories a node starts with


def test_directories_that_are_not_formatted_are_refused_with_the_command_to_run() -> None:
    node = Node(COMBINED)
    assert node.problem() == (
        "/a is not formatted (it has no meta.properties): run `odradek storage format` first, or correct log.dirs"
    )
    assert not node.files.exists("/a")
    node.format(standalone=True)
    said = node.problem(log_dirs="/a,/new")
    assert said.startswith("/new is not formatted")
    assert "`odradek storage format` with --ignore-formatted" in said
    assert node.problem(log_dirs="/new,/b").startswith("/new has no meta.properties, while another log directory has")


def test_a_node_of_its_own_formats_itself_where_that_is_wanted() -> None:
    node = Node(single_node_defaults("localhost", 0, data_dir="/data"))
    first = node.open()
    assert node.bootstrap("/data")[0].voters.is_only(1, first.metadata_directory_id)
    assert node.open() == first
    more = node.open(log_dirs="/data,/more")
    assert (more.cluster_id, set(more.directory_ids)) == (first.cluster_id, {"/data", "/more"})


@pytest.mark.parametrize("properties", [STATIC, {**COMBINED, "controller.quorum.bootstrap.servers": "a:1,b:1"}, BROKER])
def test_a_node_of_several_never_formats_itself(properties: dict[str, str]) -> None:
    node = Node({**properties, "odradek.format.on.start": "true"})
    assert "run `odradek storage format` first" in node.problem()
    assert not node.files.exists("/a")


def test_directories_of_other_nodes_clusters_and_ids_are_refused() -> None:
    node = Node(COMBINED)
    node.format(standalone=True)
    assert node.problem(node_id="2", broker_id="2").startswith(
        "/a belongs to node 1, and this is node 2: correct node.id"
    )
    ids = {path: node.properties(path).directory_id for path in ("/a", "/b")}
    node.rewrite("/b", cluster_id="other")
    assert node.problem().startswith(f"the log directories belong to several clusters ({CLUSTER}, other)")
    node.rewrite("/b", cluster_id=CLUSTER, directory_id=ids["/a"])
    assert node.problem().startswith(f"/a and /b have the same directory.id {uuid_to_string(ids['/a'])}")
    node.rewrite("/b", directory_id=bytes(15) + b"\x63")
    assert node.problem().startswith("/b has the reserved directory.id ")
    node.rewrite("/b", directory_id=bytes(15) + b"\x64")
    assert node.open().directory_ids["/b"] == bytes(15) + b"\x64"


def test_a_metadata_log_in_another_directory_is_refused() -> None:
    node = Node(COMBINED)
    node.format(standalone=True)
    assert node.problem(metadata_log_dir="/b").startswith("/a/__cluster_metadata-0 is a metadata log outside /b")


def test_directories_from_before_they_had_ids_get_some_that_stay() -> None:
    node = Node(COMBINED)
    node.format(standalone=True)
    for path in ("/a", "/b"):
        node.files.write_atomically(f"{path}/meta.properties", f"version=1\nnode.id=1\ncluster.id={CLUSTER}\n".encode())
    opened = node.open()
    assert ZERO_UUID not in opened.directory_ids.values()
    assert len(set(opened.directory_ids.values())) == 2
    assert node.open() == opened


# What is said of them


def info(node: Node) -> tuple[list[str], list[str]]:
    return storage_info(node.config, node.files)


def test_formatted_directories_are_shown() -> None:
    node = Node(COMBINED)
    node.format(initial_controllers=f"1@localhost:9093:{THREE}")
    assert info(node) == (
        [
            "Found log directories:",
            "  /a",
            "  /b",
            "",
            f"Found metadata: {{cluster.id={CLUSTER}, directory.id={THREE}, node.id=1, version=1}}",
            "",
        ],
        [],
    )


def test_problems_of_directories_are_listed() -> None:
    node = Node(COMBINED)
    node.files.mkdir("/b")
    assert info(node)[0] == [
        "Found log directory:",
        "  /b",
        "",
        "Found problems:",
        "  /a does not exist",
        "  /b is not formatted.",
        "",
    ]
    node.format(standalone=True)
    node.rewrite("/b", node_id=7)
    assert info(node)[1] == ["Mismatched node IDs between storage directories."]
    node.rewrite("/b", cluster_id="other")
    assert info(node)[1] == ["Mismatched cluster IDs between storage directories."]
    node.files.write_atomically("/b/meta.properties", b"version=9\n")
    assert info(node)[1][0].startswith("Error loading /b/meta.properties: ")


def test_directories_of_the_time_of_zookeeper_are_known() -> None:
    node = Node({**COMBINED, "log.dirs": "/a"})
    node.files.mkdir("/a")
    node.files.write_atomically("/a/meta.properties", b"version=0\nbroker.id=1\ncluster.id=abc\n")
    assert info(node)[0][3:] == [
        "Found metadata: {broker.id=1, cluster.id=abc, version=0}",
        "",
        "Found problem:",
        "  The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are formatted "
        "for legacy mode.",
        "",
    ]
