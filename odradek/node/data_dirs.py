"""Whose the data directories are: `meta.properties` in each, and formatting on the first start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.config import BrokerConfig, ProcessRole
from odradek.config.own import FORMAT_ON_START
from odradek.metadata.bootstrap import bootstrap_records
from odradek.metadata.features import BOOTSTRAP_KRAFT_VERSION
from odradek.node.start_error import StartError, unusable_directory
from odradek.ports import Clock, FileSystem, Random
from odradek.quorum.files import SnapshotFiles
from odradek.quorum.formatting import META_PROPERTIES_FILE, MetaProperties, bootstrap_checkpoint
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.raft import NodeIdentity
from odradek.quorum.voters import VoterEndpoint
from odradek.storage.file_names import CLUSTER_METADATA_TOPIC
from odradek.wire.errors import ProtocolError
from odradek.wire.uuids import ZERO_UUID, Uuid, uuid_to_string

METADATA_LOG_DIR = f"{CLUSTER_METADATA_TOPIC}-0"
_RESERVED_BELOW = 100
"""Kafka keeps the first hundred ids for itself; a directory has none of them."""


class DataDirs(NamedTuple):
    """The directories of a formatted node, and the ids in their `meta.properties`."""

    cluster_id: str
    directory_ids: Mapping[str, Uuid]
    metadata_directory_id: Uuid
    metadata_log_dir: str
    """The directory of the metadata log itself."""
    unusable: Mapping[str, OSError]
    """Directories of `log.dirs` that cannot be read or written, which the others go on without (KIP-112)."""


def open_data_dirs(config: BrokerConfig, files: FileSystem, clock: Clock, random: Random) -> DataDirs:
    """Read every `meta.properties`; with `odradek.format.on.start`, format a node that has none yet.

    Raises StartError where a directory is not formatted, or is another node's or another cluster's, or where the
    metadata log's, or any on the first start, cannot be used.
    """
    unusable: dict[str, OSError] = {}
    found: dict[str, MetaProperties | None] = {}
    try:
        for path in directories_of(config):
            try:
                found[path] = read_meta_properties(files, path)
            except OSError as error:
                if path == config.metadata_log_dir:
                    raise
                unusable[path] = error
        known = {path: properties for path, properties in found.items() if properties is not None}
        _check(config, files, known)
        missing = [path for path, properties in found.items() if properties is None]
        if missing:
            _check_may_format(config, missing, known)
        cluster_id = next(iter(known.values())).cluster_id if known else uuid_to_string(random.uuid())
        # An older Apache Kafka gave directories no ids: they get one, as when it is upgraded.
        nameless = [path for path, properties in known.items() if properties.directory_id == ZERO_UUID]
        directory_ids = {path: properties.directory_id for path, properties in known.items()}
        for path in (*missing, *nameless):
            directory_ids[path] = random.uuid()
        metadata_log_dir = f"{config.metadata_log_dir}/{METADATA_LOG_DIR}"
        if not known:
            _write_bootstrap(config, files, clock, directory_ids[config.metadata_log_dir], metadata_log_dir)
        for path in (*missing, *nameless):
            properties = MetaProperties(cluster_id, config.node_id, directory_ids[path])
            try:
                write_meta_properties(files, path, properties, clock)
            except OSError as error:
                if not known:
                    raise
                unusable[path] = error
        if unusable and not known:
            raise next(iter(unusable.values()))
        files.mkdir(metadata_log_dir)
    except OSError as error:
        raise unusable_directory(error, config.metadata_log_dir) from error
    return DataDirs(cluster_id, directory_ids, directory_ids[config.metadata_log_dir], metadata_log_dir, unusable)


def directories_of(config: BrokerConfig) -> list[str]:
    """`log.dirs` and `metadata.log.dir`, each once."""
    return list(dict.fromkeys((*config.log_dirs, config.metadata_log_dir)))


def read_meta_properties(files: FileSystem, path: str) -> MetaProperties | None:
    """What says whose a directory is; None if it is not formatted. Raises OSError, StartError if it is damaged."""
    name = f"{path}/{META_PROPERTIES_FILE}"
    try:
        return MetaProperties.from_bytes(files.read(name))
    except FileNotFoundError:
        return None
    except ProtocolError as error:
        raise StartError(
            f"{name}: {error}; put the file back as it was, or use another directory (--data-dir, or log.dirs)"
        ) from error


def write_meta_properties(files: FileSystem, path: str, properties: MetaProperties, clock: Clock) -> None:
    """Make a directory this node's; raises OSError."""
    files.mkdir(path)
    files.write_atomically(f"{path}/{META_PROPERTIES_FILE}", properties.to_bytes(clock.now_ms()))


def node_problem(config: BrokerConfig, known: Mapping[str, MetaProperties]) -> str | None:
    """Why formatted directories of one cluster cannot be this node's; None if they can."""
    owners: dict[Uuid, str] = {}
    for path, properties in known.items():
        if properties.node_id != config.node_id:
            return (
                f"{path} belongs to node {properties.node_id}, and this is node {config.node_id}: correct node.id, or "
                "use another directory"
            )
        directory_id = properties.directory_id
        if directory_id == ZERO_UUID:
            continue
        if int.from_bytes(directory_id) < _RESERVED_BELOW:
            return f"{path} has the reserved directory.id {uuid_to_string(directory_id)}: give it another one"
        other = owners.setdefault(directory_id, path)
        if other != path:
            return (
                f"{other} and {path} have the same directory.id {uuid_to_string(directory_id)}, so one is a copy of "
                "the other: take the copy out of log.dirs"
            )
    return None


def _check(config: BrokerConfig, files: FileSystem, known: Mapping[str, MetaProperties]) -> None:
    cluster_ids = dict.fromkeys(properties.cluster_id for properties in known.values())
    if len(cluster_ids) > 1:
        raise StartError(
            f"the log directories belong to several clusters ({', '.join(cluster_ids)}): name those of one in log.dirs"
        )
    problem = node_problem(config, known)
    if problem is not None:
        raise StartError(problem)
    for path in known:
        metadata_log = f"{path}/{METADATA_LOG_DIR}"
        if path != config.metadata_log_dir and files.exists(metadata_log):
            raise StartError(
                f"{metadata_log} is a metadata log outside {config.metadata_log_dir}: correct metadata.log.dir (or the "
                "first of log.dirs), or remove what is left from before"
            )


def _check_may_format(config: BrokerConfig, missing: list[str], known: Mapping[str, MetaProperties]) -> None:
    """Raise StartError unless directories that are not formatted are to be formatted now."""
    if known and config.metadata_log_dir in missing:
        raise StartError(
            f"{config.metadata_log_dir} has no {META_PROPERTIES_FILE}, while another log directory has: is "
            "metadata.log.dir (or the first of log.dirs) the one that this node was formatted with?"
        )
    if not config.bool_(FORMAT_ON_START):
        how = "with --ignore-formatted " if known else ""
        raise StartError(
            f"{missing[0]} is not formatted (it has no {META_PROPERTIES_FILE}): run `odradek storage format` "
            f"{how}first, or correct log.dirs"
        )
    if not known and set(config.process_roles) != {ProcessRole.BROKER, ProcessRole.CONTROLLER}:
        raise StartError(
            f"{missing[0]} is not formatted; only a node with process.roles=broker,controller formats itself: run "
            "`odradek storage format` first"
        )
    for name in ("controller.quorum.voters", "controller.quorum.bootstrap.servers"):
        if not known and len(config.list_(name)) > 1:
            raise StartError(
                f"{missing[0]} is not formatted, and {name} names several controllers: run `odradek storage format` "
                "first, for each node with the same cluster id"
            )


def _write_bootstrap(
    config: BrokerConfig, files: FileSystem, clock: Clock, directory_id: Uuid, metadata_log_dir: str
) -> None:
    identity = NodeIdentity(config.node_id, directory_id, voter_endpoints(config))
    data = bootstrap_checkpoint(identity, bootstrap_records(), BOOTSTRAP_KRAFT_VERSION, clock.now_ms())
    files.mkdir(metadata_log_dir)
    SnapshotFiles(files, metadata_log_dir).write(BOOTSTRAP_SNAPSHOT, data)


def voter_endpoints(config: BrokerConfig, ports: Mapping[str, int] | None = None) -> tuple[VoterEndpoint, ...]:
    """Where this node's controller is reached; `ports` gives the port in use of listeners that asked for any."""
    in_use = ports or {}
    return tuple(
        VoterEndpoint(listener.name, listener.host or "localhost", listener.port or in_use.get(listener.name, 0))
        for listener in config.advertised_controller_listeners
    )
