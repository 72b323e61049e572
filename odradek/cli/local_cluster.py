"""A cluster on one machine: its nodes' addresses, files and formatting, before any of them runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from odradek.cli.addresses import listen_address
from odradek.cli.serve import ANY_HOSTS
from odradek.config import PROPERTIES_ENCODING, BrokerConfig, ConfigError, parse_properties
from odradek.config.defaults import OWN_TO_EACH_NODE, SINGLE_NODE_TOPIC_DEFAULTS
from odradek.config.properties import format_properties
from odradek.net.files import OsFileSystem
from odradek.net.real import RealClock, SystemRandom
from odradek.ports import FileSystem
from odradek.quorum.dynamic_voters import VoterTextError, parse_voters
from odradek.wire.uuids import uuid_to_string

CONTROLLER_PORTS_ABOVE = 1000
CLUSTER_FILE = "cluster.properties"
CONTROLLER = "CONTROLLER"
_LOOPBACK = "127.0.0.1"
_MAX_PORT = 65_535
_REPLICAS = 3
_MIN_ISR = ".min.isr"
_CLUSTER_ID, _VOTERS, _FORMATTED = "cluster.id", "initial.controllers", "formatted"


class LocalNode(NamedTuple):
    """One node, ready to be served."""

    node_id: int
    properties_file: str


class _Addresses(NamedTuple):
    clients: Sequence[str]
    controllers: Sequence[str]


def prepare(listen: str, count: int, data_dir: str, settings: Sequence[str]) -> list[LocalNode]:
    """The nodes of the cluster in `data_dir`, which is made and formatted when it is started for the first time.

    Their controllers stay at the addresses that they were formatted with. Raises ConfigError for options that cannot
    be, and OSError.
    """
    files = OsFileSystem()
    host, port = listen_address(listen)
    cluster_file = f"{data_dir}/{CLUSTER_FILE}"
    known = _read(files, cluster_file)
    if known is None:
        known = _new_cluster(_addresses(host, port, count).controllers)
    controllers = _controllers_of(known, cluster_file)
    if len(controllers) != count:
        raise ConfigError("", f"{data_dir} holds a cluster of {len(controllers)} nodes: start it with that --nodes")
    addresses = _Addresses(_addresses(host, port, count).clients, controllers)
    properties = [_properties(host, addresses, index, data_dir, settings) for index in range(count)]
    configs = [BrokerConfig.load(each) for each in properties]
    files.mkdir(data_dir)
    nodes = [LocalNode(index + 1, f"{data_dir}/node-{index + 1}.properties") for index in range(count)]
    for node, each in zip(nodes, properties, strict=True):
        files.write_atomically(node.properties_file, format_properties(each).encode(PROPERTIES_ENCODING))
    # Only once: a voter whose directory is gone must not come back as if it had never voted.
    if known[_FORMATTED] != "true":
        files.write_atomically(cluster_file, format_properties(known).encode(PROPERTIES_ENCODING))
        _format(configs, known, files)
        known = {**known, _FORMATTED: "true"}
        files.write_atomically(cluster_file, format_properties(known).encode(PROPERTIES_ENCODING))
    return nodes


def _read(files: FileSystem, path: str) -> dict[str, str] | None:
    try:
        return parse_properties(files.read(path).decode(PROPERTIES_ENCODING))
    except FileNotFoundError:
        return None


def _new_cluster(controllers: Sequence[str]) -> dict[str, str]:
    random = SystemRandom()
    voters = [f"{index + 1}@{at}:{uuid_to_string(random.uuid())}" for index, at in enumerate(controllers)]
    return {_CLUSTER_ID: uuid_to_string(random.uuid()), _VOTERS: ",".join(voters), _FORMATTED: "false"}


def _controllers_of(known: Mapping[str, str], path: str) -> list[str]:
    """HOST:PORT of each controller; raises ConfigError for a file that is none of ours."""
    try:
        voters = parse_voters(known[_VOTERS], CONTROLLER).voters
        if known[_CLUSTER_ID] and known[_FORMATTED]:
            return [_address(voter.endpoints[0].host, voter.endpoints[0].port) for voter in voters]
    except (KeyError, VoterTextError):
        pass
    raise ConfigError("", f"{path} is damaged: put it back as it was, or use another --data-dir")


def _addresses(host: str, port: int, count: int) -> _Addresses:
    controller_host = _LOOPBACK if host in ANY_HOSTS else host
    if port == 0:
        free = free_ports(controller_host, 2 * count)
        clients, controllers = free[:count], free[count:]
    else:
        clients = list(range(port, port + count))
        controllers = [each + CONTROLLER_PORTS_ABOVE for each in clients]
        if controllers[-1] > _MAX_PORT:
            raise ConfigError(
                "listeners", f"the controllers' ports would go up to {controllers[-1]}: choose a lower port"
            )
    return _Addresses(
        [_address(host, each) for each in clients], [_address(controller_host, each) for each in controllers]
    )


def free_ports(host: str, count: int) -> list[int]:
    """Ports of `host` that nobody listens on; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for each in sockets:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in sockets]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _properties(host: str, addresses: _Addresses, index: int, data_dir: str, settings: Sequence[str]) -> dict[str, str]:
    count = len(addresses.clients)
    replicas = str(min(_REPLICAS, count))
    min_isr = "2" if count >= _REPLICAS else "1"
    client = addresses.clients[index]
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(index + 1),
        "listeners": f"PLAINTEXT://{client},{CONTROLLER}://{addresses.controllers[index]}",
        "controller.listener.names": CONTROLLER,
        "controller.quorum.bootstrap.servers": ",".join(addresses.controllers),
        "log.dirs": os.path.join(data_dir, f"node-{index + 1}"),
        **{name: min_isr if name.endswith(_MIN_ISR) else replicas for name in SINGLE_NODE_TOPIC_DEFAULTS},
    }
    if host in ANY_HOSTS:
        port = client.rpartition(":")[2]
        properties["advertised.listeners"] = f"PLAINTEXT://{_address(socket.getfqdn(), int(port))}"
    for setting in settings:
        key, separator, value = (part.strip() for part in setting.partition("="))
        if not separator or not key:
            raise ConfigError("", f"--set {setting}: write KEY=VALUE")
        if key in OWN_TO_EACH_NODE:
            raise ConfigError(key, f"--set {key}: each node of the cluster has its own, which is chosen here")
        properties[key] = value
    return properties


def _format(configs: Sequence[BrokerConfig], known: Mapping[str, str], files: FileSystem) -> None:
    from odradek.node.formatting import FormatError, FormatOptions, format_directories

    options = FormatOptions(known[_CLUSTER_ID], initial_controllers=known[_VOTERS], ignore_formatted=True)
    for config in configs:
        try:
            for _line in format_directories(config, options, files, RealClock(), SystemRandom()):
                pass
        except FormatError as error:
            raise ConfigError("", str(error)) from error
