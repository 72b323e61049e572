"""Whose the data directories are: `meta.properties` in each, and formatting on the first start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.config import BrokerConfig, ProcessRole
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
from odradek.wire.uuids import Uuid, uuid_to_string

METADATA_LOG_DIR = f"{CLUSTER_METADATA_TOPIC}-0"


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
    """Read every `meta.properties`, after formatting a node that is broker and controller and has none yet.

    Raises StartError where a directory is another node's or another cluster's, or where the metadata log's, or any on
    the first start, cannot be used.
    """
    paths = list(dict.fromkeys((*config.log_dirs, config.metadata_log_dir)))
    unusable: dict[str, OSError] = {}
    found: dict[str, MetaProperties | None] = {}
    try:
        for path in paths:
            try:
                found[path] = _read(files, path)
            except OSError as error:
                if path == config.metadata_log_dir:
                    raise
                unusable[path] = error
        known = [properties for properties in found.values() if properties is not None]
        _check(config, found)
        cluster_id = known[0].cluster_id if known else uuid_to_string(random.uuid())
        missing = [path for path, properties in found.items() if properties is None]
        if missing and known and config.metadata_log_dir in missing:
            raise StartError(
                f"{config.metadata_log_dir} has no {META_PROPERTIES_FILE}, while another log directory has: is "
                "metadata.log.dir (or the first of log.dirs) the one that this node was formatted with?"
            )
        if missing and not known and set(config.process_roles) != {ProcessRole.BROKER, ProcessRole.CONTROLLER}:
            raise StartError(
                f"{missing[0]} is not formatted; only a node with process.roles=broker,controller formats itself"
            )
        directory_ids = {path: properties.directory_id for path, properties in found.items() if properties}
        for path in missing:
            directory_ids[path] = random.uuid()
        metadata_log_dir = f"{config.metadata_log_dir}/{METADATA_LOG_DIR}"
        if not known:
            _write_bootstrap(config, files, clock, directory_ids[config.metadata_log_dir], metadata_log_dir)
        for path in missing:
            properties = MetaProperties(cluster_id, config.node_id, directory_ids[path])
            try:
                files.mkdir(path)
                files.write_atomically(f"{path}/{META_PROPERTIES_FILE}", properties.to_bytes(clock.now_ms()))
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


def _read(files: FileSystem, path: str) -> MetaProperties | None:
    name = f"{path}/{META_PROPERTIES_FILE}"
    if not files.exists(name):
        return None
    try:
        return MetaProperties.from_bytes(files.read(name))
    except ProtocolError as error:
        raise StartError(
            f"{name}: {error}; put the file back as it was, or use another directory (--data-dir, or log.dirs)"
        ) from error


def _check(config: BrokerConfig, found: Mapping[str, MetaProperties | None]) -> None:
    cluster_ids = dict.fromkeys(properties.cluster_id for properties in found.values() if properties is not None)
    if len(cluster_ids) > 1:
        raise StartError(
            f"the log directories belong to several clusters ({', '.join(cluster_ids)}): name those of one in log.dirs"
        )
    for path, properties in found.items():
        if properties is not None and properties.node_id != config.node_id:
            raise StartError(
                f"{path} belongs to node {properties.node_id}, and this is node {config.node_id}: correct node.id, or "
                "use another directory"
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
    return tuple(
        VoterEndpoint(listener.name, listener.host or "localhost", (ports or {}).get(listener.name, listener.port))
        for listener in config.advertised_controller_listeners
    )
