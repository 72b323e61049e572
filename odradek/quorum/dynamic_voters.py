"""The text in which tools are told the first voters of a quorum: `ID@HOST:PORT:DIRECTORY,...` (KIP-853)."""

from __future__ import annotations

from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.uuids import Uuid, uuid_from_string

_MAX_PORT = 65_535
_INT_MAX = 2**31 - 1


class VoterTextError(ValueError):
    """The text names no voters; its message is Kafka's."""


def parse_voters(text: str, listener: str) -> VoterSet:
    """The voters, by id, each reached at `listener`; raises VoterTextError."""
    voters: dict[int, VoterNode] = {}
    for entry in text.strip().split(","):
        if not entry:
            continue
        voter = _parse_voter(entry.strip(), listener)
        if voter.id in voters:
            raise VoterTextError(f"Node id {voter.id} was specified more than once.")
        voters[voter.id] = voter
    if not voters:
        raise VoterTextError("No voters given.")
    return VoterSet(tuple(voters[voter_id] for voter_id in sorted(voters)))


def _parse_voter(text: str, listener: str) -> VoterNode:
    id_text, at, rest = text.partition("@")
    if not at:
        raise VoterTextError("No @ found in dynamic voter string.")
    if not id_text:
        raise VoterTextError("Invalid @ at beginning of dynamic voter string.")
    node_id = _integer(id_text, "Failed to parse node id in dynamic voter string.")
    if node_id < 0:
        raise VoterTextError(f"Invalid negative node id {node_id} in dynamic voter string.")
    host, rest = _host(rest)
    if not rest.startswith(":"):
        raise VoterTextError("Port section must start with a colon.")
    port_text, colon, directory = rest[1:].partition(":")
    if not colon:
        raise VoterTextError("No colon following port could be found.")
    port = _integer(port_text, "Failed to parse port in dynamic voter string.")
    if not 0 <= port <= _MAX_PORT:
        raise VoterTextError(f"Invalid port {port} in dynamic voter string.")
    return VoterNode(node_id, _directory(directory), (VoterEndpoint(listener, host, port),))


def _host(text: str) -> tuple[str, str]:
    """The host, and what follows it."""
    if not text:
        raise VoterTextError("No hostname found after node id.")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise VoterTextError("Hostname began with left bracket, but no right bracket was found.")
        return host, rest
    host, colon, rest = text.partition(":")
    if not colon:
        raise VoterTextError("No colon following hostname could be found.")
    return host, f":{rest}"


def _directory(text: str) -> Uuid:
    try:
        return uuid_from_string(text)
    except ValueError as error:
        raise VoterTextError("Failed to parse directory ID in dynamic voter string.") from error


def _integer(text: str, problem: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or abs(int(digits)) > _INT_MAX:
        raise VoterTextError(problem)
    return int(text)
