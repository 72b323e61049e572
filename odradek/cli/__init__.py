"""The `odradek` command. Each subcommand is imported when it is run: start-up time is a feature."""

from __future__ import annotations

import gc
from importlib import import_module

import click

from odradek import __version__

_COMMANDS = {
    "serve": ("odradek.cli.serve:serve", "Run a broker."),
    "cluster": ("odradek.cli.cluster:cluster", "Run a cluster on this machine, and spread partitions over brokers."),
    "storage": ("odradek.cli.storage:storage", "Format the log directories of a node, and look at them."),
    "topic": ("odradek.cli.topic:topic", "List, create, describe and delete topics."),
    "group": ("odradek.cli.group:group", "List, describe and delete consumer groups, reset their offsets."),
    "produce": ("odradek.cli.produce:produce", "Send lines as records."),
    "consume": ("odradek.cli.consume:consume", "Print records."),
    "log": ("odradek.cli.log:log", "Look into log directories."),
    "container": ("odradek.cli.container:container", "Run a node in a container, as Apache Kafka's image does."),
    "conformance": ("odradek.cli.conformance:conformance", "Run the conformance suite, in a checkout of the sources."),
    "check": ("odradek.cli.check:check", "Look for lost, doubled and aborted records in a recorded history."),
}


_NODES = ("serve", "container")
"""The commands that let garbage be collected themselves, once the node is ready."""


class LazyGroup(click.Group):
    """Knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a command; None if there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """List the commands in the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="odradek", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """A broker that speaks Apache Kafka's wire protocol, and small tools to talk to one."""
    if context.invoked_subcommand not in _NODES:  # the command is imported by now
        gc.enable()
