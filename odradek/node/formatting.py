"""Formatting the directories of a node, as `kafka-storage format` of Apache Kafka 4.4.0 does (KIP-631, KIP-853)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from odradek.config import BrokerConfig, ProcessRole
from odradek.metadata.bootstrap import bootstrap_records
from odradek.metadata.features import KRAFT_VERSION, LATEST_METADATA_VERSION, METADATA_VERSION
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.versions import (
    FEATURE_LEVELS,
    METADATA_VERSIONS,
    SCRAM_SINCE,
    VersionError,
    check_levels,
    default_level,
    metadata_version_name,
    metadata_version_of,
)
from odradek.node.data_dirs import (
    METADATA_LOG_DIR,
    directories_of,
    node_problem,
    read_meta_properties,
    write_meta_properties,
)
from odradek.node.start_error import StartError
from odradek.ports import Clock, FileSystem, Random
from odradek.quorum.dynamic_voters import VoterTextError, parse_voters
from odradek.quorum.files import SnapshotFiles
from odradek.quorum.formatting import META_PROPERTIES_FILE, MetaProperties, quorum_checkpoint
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.security.scram import ScramArgumentError, parse_credential
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord

_SHORT_MIN, _SHORT_MAX = -(2**15), 2**15 - 1


class FormatError(Exception):
    """The directories cannot be formatted like this; the text is one line for the user, in Kafka's words."""


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """What the user asks for, as written on the command line."""

    cluster_id: str
    standalone: bool = False
    initial_controllers: str | None = None
    no_initial_controllers: bool = False
    features: Sequence[str] = ()
    release_version: str | None = None
    ignore_formatted: bool = False
    scram: Sequence[str] = field(default=(), repr=False)


def format_directories(
    config: BrokerConfig, options: FormatOptions, files: FileSystem, clock: Clock, random: Random
) -> Iterator[str]:
    """Format the directories of `config` that are not; yields the lines that tell the user so, as it goes.

    Raises FormatError. A directory is formatted once it has its `meta.properties`, which is written last.
    """
    voters = _initial_voters(config, options, random)
    levels = _feature_levels(config, options)
    records = _records(options, levels, random)
    found, unreadable = _look(config, options, files)
    for path in unreadable:
        yield f"I/O error trying to read log directory {path}. Ignoring..."
    if not found:
        raise FormatError("No available log directories to format.")
    missing = [path for path, properties in found.items() if properties is None]
    if not missing:
        yield "All of the log directories are already formatted."
        return
    yield f"Bootstrap metadata: {_shown(records)}"
    for path in missing:
        kind, voter = _kind_of(path, config, voters)
        version = METADATA_VERSIONS[levels[METADATA_VERSION]]
        yield f"Formatting {kind} {path} with metadata.version {version}."
        try:
            if path == config.metadata_log_dir and ProcessRole.CONTROLLER in config.process_roles:
                checkpoint = quorum_checkpoint(voters, records, levels[KRAFT_VERSION], clock.now_ms())
                files.mkdir(f"{path}/{METADATA_LOG_DIR}")
                SnapshotFiles(files, f"{path}/{METADATA_LOG_DIR}").write(BOOTSTRAP_SNAPSHOT, checkpoint)
            directory_id = random.uuid() if voter is None else voter.directory_id
            properties = MetaProperties(options.cluster_id, config.node_id, directory_id)
            write_meta_properties(files, path, properties, clock)
        except OSError as error:
            raise FormatError(f"Error while writing meta.properties file {path}: {error}") from error


def _look(
    config: BrokerConfig, options: FormatOptions, files: FileSystem
) -> tuple[Mapping[str, MetaProperties | None], Sequence[str]]:
    """What is in the directories that can be read, and those that cannot; raises FormatError for another node's."""
    found: dict[str, MetaProperties | None] = {}
    unreadable = []
    for path in sorted(directories_of(config)):
        try:
            found[path] = read_meta_properties(files, path)
        except (OSError, StartError):
            unreadable.append(path)
    formatted = {path: properties for path, properties in found.items() if properties is not None}
    for path, properties in formatted.items():
        if properties.cluster_id != options.cluster_id:
            raise FormatError(
                f"Invalid cluster.id in: {path}/{META_PROPERTIES_FILE}. Expected {options.cluster_id}, but read "
                f"{properties.cluster_id}"
            )
    problem = node_problem(config, formatted)
    if problem is not None:
        raise FormatError(problem)
    if formatted and not options.ignore_formatted:
        raise FormatError(
            f"Log directory {next(iter(formatted))} is already formatted. Use --ignore-formatted to ignore this "
            "directory and format the others."
        )
    return found, unreadable


def _initial_voters(config: BrokerConfig, options: FormatOptions, random: Random) -> VoterSet | None:
    static = config.list_("controller.quorum.voters")
    if static and (options.standalone or options.initial_controllers is not None):
        raise FormatError(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or "
            "--standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify "
            "controller.quorum.bootstrap.servers instead."
        )
    is_controller = ProcessRole.CONTROLLER in config.process_roles
    if options.initial_controllers is not None:
        try:
            return parse_voters(options.initial_controllers, config.controller_listener_names[0].upper())
        except VoterTextError as error:
            raise FormatError(str(error)) from error
    if options.standalone:
        if not is_controller:
            raise FormatError("You can only use --standalone on a controller.")
        listener = config.advertised_controller_listeners[0]
        endpoint = VoterEndpoint(listener.name, listener.host or "localhost", listener.port)
        return VoterSet((VoterNode(config.node_id, random.uuid(), (endpoint,)),))
    if is_controller and not static and not options.no_initial_controllers:
        raise FormatError(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: "
            "--standalone, --initial-controllers, or --no-initial-controllers."
        )
    return None


def _feature_levels(config: BrokerConfig, options: FormatOptions) -> Mapping[str, int]:
    """Level of every feature, those that nothing is said of by the release; raises FormatError."""
    levels = dict(map(_parse_level, options.features))
    try:
        metadata_version = _metadata_version(options, levels)
        for name in sorted(levels):
            if name != METADATA_VERSION and name not in FEATURE_LEVELS:
                known = ", ".join(sorted(FEATURE_LEVELS))
                raise FormatError(f"Unsupported feature: {name}. Supported features are: {known}")
        levels[METADATA_VERSION] = metadata_version
        for name in FEATURE_LEVELS:
            if name == KRAFT_VERSION:
                levels[name] = _kraft_version(levels.get(name), dynamic=not config.list_("controller.quorum.voters"))
            elif name not in levels:
                levels[name] = default_level(name, metadata_version)
        check_levels(levels)
    except VersionError as error:
        raise FormatError(str(error)) from error
    return levels


def _parse_level(text: str) -> tuple[str, int]:
    name, equals, level = (part.strip() for part in text.partition("="))
    if not equals:
        raise FormatError(f"Can't parse feature=level string {text}: equals sign not found.")
    try:
        number = int(level)
        if not _SHORT_MIN <= number <= _SHORT_MAX:
            raise ValueError(level)
    except ValueError as error:
        raise FormatError(f"Can't parse feature=level string {text}: unable to parse {level} as a short.") from error
    return name, number


def _metadata_version(options: FormatOptions, levels: Mapping[str, int]) -> int:
    if METADATA_VERSION not in levels:
        if options.release_version is None:
            return LATEST_METADATA_VERSION
        return metadata_version_of(options.release_version)
    if options.release_version is not None:
        raise FormatError("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")
    level = levels[METADATA_VERSION]
    name = metadata_version_name(level)
    if level > LATEST_METADATA_VERSION:
        raise FormatError(f"metadata.version {name} is not yet stable.")
    return level


def _kraft_version(wanted: int | None, *, dynamic: bool) -> int:
    if wanted is None:
        return 1 if dynamic else 0
    if wanted == 0 and dynamic:
        raise FormatError(
            "Cannot set kraft.version to 0 if controller.quorum.voters is empty and one of the flags --standalone, "
            "--initial-controllers, or --no-initial-controllers is used. For dynamic controllers support, try removing "
            "the --feature flag for kraft.version."
        )
    if wanted != 0 and not dynamic:
        raise FormatError(
            f"Cannot set kraft.version to {wanted} unless controller.quorum.voters is empty and one of the flags "
            "--standalone, --initial-controllers, or --no-initial-controllers is used. For dynamic controllers "
            "support, try using one of --standalone, --initial-controllers, or --no-initial-controllers and removing "
            "controller.quorum.voters."
        )
    return wanted


def _records(options: FormatOptions, levels: Mapping[str, int], random: Random) -> list[VersionedRecord]:
    records = bootstrap_records(levels)
    if options.scram and levels[METADATA_VERSION] < SCRAM_SINCE:
        raise FormatError(f"SCRAM is only supported in metadata.version {METADATA_VERSIONS[SCRAM_SINCE]} or later.")
    try:
        records += [VersionedRecord(parse_credential(argument, random), 0) for argument in options.scram]
    except ScramArgumentError as error:
        raise FormatError(str(error)) from error
    return records


def _kind_of(path: str, config: BrokerConfig, voters: VoterSet | None) -> tuple[str, VoterNode | None]:
    """What a directory is called, and the voter that it is."""
    if path != config.metadata_log_dir:
        return "data directory", None
    if voters is None:
        return "metadata directory", None
    voter = next((voter for voter in voters.voters if voter.id == config.node_id), None)
    return ("dynamic metadata directory" if voter is None else "dynamic metadata voter directory"), voter


def _shown(records: Sequence[VersionedRecord]) -> str:
    """As Kafka prints them, but for what is derived from a password."""
    shown = []
    level = 0
    for message, version in records:
        if isinstance(message, FeatureLevelRecord):
            if message.name == METADATA_VERSION:
                level = message.feature_level
            text = f"FeatureLevelRecord(name='{message.name}', featureLevel={message.feature_level})"
        else:
            assert isinstance(message, UserScramCredentialRecord)
            text = f"UserScramCredentialRecord(name='{message.name}', mechanism={message.mechanism})"
        shown.append(f"ApiMessageAndVersion({text} at version {version})")
    return f"BootstrapMetadata(records=[{', '.join(shown)}], metadataVersionLevel={level}, source=format command)"
