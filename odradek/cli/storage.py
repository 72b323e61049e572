"""`odradek storage`: format and look at a node's directories, with the options of Kafka's `kafka-storage`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from odradek.cli.errors import EXIT_FAILED, fail
from odradek.config import BrokerConfig, ConfigError, parse_properties
from odradek.config.properties import PROPERTIES_ENCODING
from odradek.metadata.features import LATEST_METADATA_VERSION, METADATA_VERSION
from odradek.metadata.versions import (
    FEATURE_LEVELS,
    METADATA_VERSIONS,
    VersionError,
    default_level,
    metadata_version_name,
    metadata_version_of,
)
from odradek.metadata.versions import dependencies as dependencies_of
from odradek.net.files import OsFileSystem
from odradek.net.real import RealClock, SystemRandom
from odradek.wire.uuids import uuid_to_string

_CONFIG = click.option(
    "--config", "-c", "config_file", metavar="FILE", required=True, help="The node's server.properties."
)
_RELEASES = f"{METADATA_VERSIONS[min(METADATA_VERSIONS)]} to {METADATA_VERSIONS[LATEST_METADATA_VERSION]}"


class _Command(click.Command):
    """Exits with 1, as Kafka's tool does, where it is called with options that it does not understand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.show()
            ctx.exit(EXIT_FAILED)


@click.group()
def storage() -> None:
    """Format the log directories of a node, and look at them: with the options of Kafka's kafka-storage."""


@storage.command("random-uuid", cls=_Command)
def random_uuid() -> None:
    """Print a random UUID, such as a new cluster's id."""
    click.echo(uuid_to_string(SystemRandom().uuid()))


@storage.command("format", cls=_Command)
@_CONFIG
@click.option("--cluster-id", "-t", metavar="UUID", required=True, help="The cluster's id: the same on all its nodes.")
@click.option("--standalone", "-s", is_flag=True, help="A controller that begins as the only voter.")
@click.option(
    "--initial-controllers",
    "-I",
    metavar="ID@HOST:PORT:DIRECTORY,...",
    help="The first voters, the same on all nodes; DIRECTORY is a random UUID, which the voter's directory gets.",
)
@click.option("--no-initial-controllers", "-N", is_flag=True, help="A node that joins a quorum that is there.")
@click.option("--feature", "-f", "features", metavar="NAME=LEVEL", multiple=True, help="A feature's level; repeatable.")
@click.option("--release-version", "-r", metavar="VERSION", help=f"The metadata version to begin with, {_RELEASES}.")
@click.option(
    "--ignore-formatted", "-g", is_flag=True, help="Leave directories as they are that are formatted already."
)
@click.option(
    "--add-scram",
    "-S",
    "scram",
    metavar="CREDENTIAL",
    multiple=True,
    help="A user who can log in at once: SCRAM-SHA-256=[name=alice,password=secret]; repeatable.",
)
def format_command(
    config_file: str,
    cluster_id: str,
    standalone: bool,
    initial_controllers: str | None,
    no_initial_controllers: bool,
    features: Sequence[str],
    release_version: str | None,
    ignore_formatted: bool,
    scram: Sequence[str],
) -> None:
    """Format the node's log directories: whose they are, and on a controller what the cluster begins with.

    A controller needs one of --standalone, --initial-controllers and --no-initial-controllers, unless
    controller.quorum.voters is set.
    """
    from odradek.node.formatting import FormatError, FormatOptions, format_directories

    given = [
        name
        for name, is_given in (
            ("--standalone/-s", standalone),
            ("--no-initial-controllers/-N", no_initial_controllers),
            ("--initial-controllers/-I", initial_controllers is not None),
        )
        if is_given
    ]
    if len(given) > 1:
        fail(f"argument {given[1]}: not allowed with argument {given[0]}")
    options = FormatOptions(
        cluster_id=cluster_id,
        standalone=standalone,
        initial_controllers=initial_controllers,
        no_initial_controllers=no_initial_controllers,
        features=features,
        release_version=release_version,
        ignore_formatted=ignore_formatted,
        scram=scram,
    )
    config = _load(config_file)
    try:
        for line in format_directories(config, options, OsFileSystem(), RealClock(), SystemRandom()):
            click.echo(line)
    except FormatError as error:
        fail(str(error))


@storage.command("info", cls=_Command)
@_CONFIG
def info(config_file: str) -> None:
    """Say whose the node's log directories are; exits with 1 if something is wrong with them."""
    from odradek.node.storage_info import storage_info

    lines, problems = storage_info(_load(config_file), OsFileSystem())
    for line in lines:
        click.echo(line)
    if problems:
        sys.exit(EXIT_FAILED)


@storage.command("version-mapping", cls=_Command)
@click.option("--release-version", "-r", metavar="VERSION", help=f"A metadata version, {_RELEASES}. [the latest]")
def version_mapping(release_version: str | None) -> None:
    """Print the level of each feature that a cluster begins with at a metadata version."""
    version = release_version or METADATA_VERSIONS[LATEST_METADATA_VERSION]
    try:
        level = metadata_version_of(version, unstable=True)
    except VersionError as error:
        fail(str(error))
    click.echo(f"{METADATA_VERSION}={level} ({version})")
    for feature in FEATURE_LEVELS:
        click.echo(f"{feature}={default_level(feature, level)}")


@storage.command("feature-dependencies", cls=_Command)
@click.option("--feature", "-f", "features", metavar="NAME=LEVEL", multiple=True, required=True, help="Repeatable.")
def feature_dependencies(features: Sequence[str]) -> None:
    """Print which levels of other features a feature's level needs."""
    for text in features:
        name, equals, level = (part.strip() for part in text.partition("="))
        if not equals:
            fail(f"Invalid feature format: {text}. Expected format: 'feature=version' (e.g. 'group.version=1')")
        try:
            number = int(level)
        except ValueError:
            fail(f"Invalid version format: {level} for feature {name}")
        _print_dependencies(name, number)


def _print_dependencies(name: str, level: int) -> None:
    if name == METADATA_VERSION:
        if level not in METADATA_VERSIONS:
            fail(f"Unknown metadata.version {level}")
        click.echo(f"{name}={level} ({METADATA_VERSIONS[level]}) has no dependencies.")
        return
    if name not in FEATURE_LEVELS:
        fail(f"Unknown feature: {name}")
    try:
        needed = dependencies_of(name, level)
    except VersionError:
        fail(f"Feature level {level} is not supported for feature {name}")
    click.echo(f"{name}={level} requires:" if needed else f"{name}={level} has no dependencies.")
    for other, least in needed.items():
        shown = f" ({metadata_version_name(least)})" if other == METADATA_VERSION else ""
        click.echo(f"    {other}={least}{shown}")


def _load(path: str) -> BrokerConfig:
    try:
        with open(path, encoding=PROPERTIES_ENCODING) as file:
            return BrokerConfig.load(parse_properties(file.read()))
    except OSError as error:
        fail(f"--config {path}: {error.strerror}")
    except ConfigError as error:
        fail(error.message)
