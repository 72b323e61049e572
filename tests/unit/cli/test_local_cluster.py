"""What `odradek cluster start` prepares before any node runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from odradek.cli.local_cluster import LocalNode, prepare
from odradek.config import BrokerConfig, ConfigError, parse_properties
from odradek.quorum.formatting import MetaProperties
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.snapshots import file_name, read_snapshot
from odradek.quorum.voters import VoterSet, VotersHistory


def start(
    directory: Path, listen: str = "127.0.0.1:9092", nodes: int = 3, settings: Sequence[str] = ()
) -> list[BrokerConfig]:
    """The nodes' configurations."""
    return [config_of(node) for node in prepare(listen, nodes, str(directory), settings)]


def config_of(node: LocalNode) -> BrokerConfig:
    return BrokerConfig.load(parse_properties(Path(node.properties_file).read_text("latin-1")))


def addresses(configs: Sequence[BrokerConfig], listener: str) -> list[str]:
    return [f"{each.host}:{each.port}" for config in configs for each in config.listeners if each.name == listener]


def meta(config: BrokerConfig) -> MetaProperties:
    return MetaProperties.from_bytes(Path(config.metadata_log_dir, "meta.properties").read_bytes())


def voters(config: BrokerConfig) -> VoterSet:
    history = VotersHistory()
    path = Path(config.metadata_log_dir, "__cluster_metadata-0", file_name(BOOTSTRAP_SNAPSHOT))
    read_snapshot(BOOTSTRAP_SNAPSHOT, path.read_bytes(), history)
    return history.voters


def test_nodes_have_neighbouring_ports_and_one_quorum(tmp_path: Path) -> None:
    configs = start(tmp_path / "c")
    assert [config.node_id for config in configs] == [1, 2, 3]
    assert addresses(configs, "PLAINTEXT") == [f"127.0.0.1:{port}" for port in (9092, 9093, 9094)]
    assert addresses(configs, "CONTROLLER") == [f"127.0.0.1:{port}" for port in (10092, 10093, 10094)]
    assert len({meta(config).cluster_id for config in configs}) == 1
    (quorum,) = {voters(config) for config in configs}
    assert [(voter.id, voter.directory_id) for voter in quorum.voters] == [
        (config.node_id, meta(config).directory_id) for config in configs
    ]
    assert [f"{voter.endpoints[0].host}:{voter.endpoints[0].port}" for voter in quorum.voters] == list(
        configs[0].list_("controller.quorum.bootstrap.servers")
    )


@pytest.mark.parametrize(("nodes", "replicas", "min_isr"), [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 3, 2)])
def test_internal_topics_have_as_many_replicas_as_can_be(
    tmp_path: Path, nodes: int, replicas: int, min_isr: int
) -> None:
    for config in start(tmp_path, nodes=nodes):
        assert config.int_("offsets.topic.replication.factor") == replicas
        assert config.int_("transaction.state.log.replication.factor") == replicas
        assert config.int_("transaction.state.log.min.isr") == min_isr


def test_properties_are_set_on_all_nodes_and_change_from_start_to_start(tmp_path: Path) -> None:
    configs = start(tmp_path, settings=["log.retention.ms=77", " num.partitions = 4 "])
    assert [(config.log_retention_ms, config.int_("num.partitions")) for config in configs] == [(77, 4)] * 3
    assert {config.int_("num.partitions") for config in start(tmp_path)} == {1}


def test_a_cluster_keeps_its_ids_and_its_controllers_addresses(tmp_path: Path) -> None:
    before = start(tmp_path, "127.0.0.1:0")
    ids = [meta(config) for config in before]
    again = start(tmp_path, "127.0.0.1:9092")
    assert [meta(config) for config in again] == ids
    assert addresses(again, "CONTROLLER") == addresses(before, "CONTROLLER")
    assert addresses(again, "PLAINTEXT") == [f"127.0.0.1:{port}" for port in (9092, 9093, 9094)]
    assert len({*addresses(before, "CONTROLLER"), *addresses(before, "PLAINTEXT")}) == 6


def test_formatting_that_was_interrupted_goes_on_with_the_same_ids(tmp_path: Path) -> None:
    before = [meta(config) for config in start(tmp_path)]
    cluster = tmp_path / "cluster.properties"
    cluster.write_text(cluster.read_text().replace("formatted=true", "formatted=false"))
    (tmp_path / "node-2" / "meta.properties").unlink()
    assert [meta(config) for config in start(tmp_path)] == before


def test_a_voter_whose_directory_is_gone_does_not_come_back_empty(tmp_path: Path) -> None:
    start(tmp_path)
    (tmp_path / "node-2" / "meta.properties").unlink()
    start(tmp_path)
    assert not (tmp_path / "node-2" / "meta.properties").exists()


def test_a_cluster_for_other_machines_says_its_name_and_keeps_its_controllers_to_itself(tmp_path: Path) -> None:
    configs = start(tmp_path, "0.0.0.0:9092", 2)
    assert addresses(configs, "PLAINTEXT") == ["0.0.0.0:9092", "0.0.0.0:9093"]
    assert addresses(configs, "CONTROLLER") == ["127.0.0.1:10092", "127.0.0.1:10093"]
    assert [config.advertised_listeners[0].port for config in configs] == [9092, 9093]
    assert all(config.advertised_listeners[0].host not in ("", "0.0.0.0") for config in configs)


def test_ipv6_hosts_stand_in_brackets(tmp_path: Path) -> None:
    configs = start(tmp_path, "[::1]:9092", 1)
    assert addresses(configs, "CONTROLLER") == ["::1:10092"]


@pytest.mark.parametrize(
    ("listen", "settings", "problem"),
    [
        ("nowhere", [], "--listen nowhere: write HOST:PORT"),
        ("127.0.0.1:65000", [], "the controllers' ports would go up to 66002: choose a lower port"),
        ("127.0.0.1:9092", ["x"], "--set x: write KEY=VALUE"),
        ("127.0.0.1:9092", ["node.id=7"], "--set node.id: each node of the cluster has its own, which is chosen here"),
        ("127.0.0.1:9092", ["num.partitions=x"], "num.partitions"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_formatted(
    tmp_path: Path, listen: str, settings: list[str], problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        start(tmp_path / "c", listen, settings=settings)
    assert problem in refused.value.message
    assert not (tmp_path / "c").exists()


def test_another_number_of_nodes_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    start(tmp_path)
    with pytest.raises(ConfigError, match="holds a cluster of 3 nodes: start it with that --nodes"):
        start(tmp_path, nodes=4)
    (tmp_path / "cluster.properties").write_text("cluster.id=x\n")
    with pytest.raises(ConfigError, match=r"cluster.properties is damaged"):
        start(tmp_path)
