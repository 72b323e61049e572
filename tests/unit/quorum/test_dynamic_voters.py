"""The first voters, as `--initial-controllers` names them."""

from __future__ import annotations

import pytest

from odradek.quorum.dynamic_voters import VoterTextError, parse_voters
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.uuids import uuid_from_string

ONE, TWO = "aUARLskQTCW4qCZDtS_cwA", "K90IZ-0DRNazJ49kCZ1EMQ"


def test_voters_are_named_by_id_address_and_directory() -> None:
    assert parse_voters(f" 2@[::1]:9093:{TWO}, 1@localhost:0:{ONE},", "CONTROLLER") == VoterSet(
        (
            VoterNode(1, uuid_from_string(ONE), (VoterEndpoint("CONTROLLER", "localhost", 0),)),
            VoterNode(2, uuid_from_string(TWO), (VoterEndpoint("CONTROLLER", "::1", 9093),)),
        )
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "No voters given."),
        (f"1@a:1:{ONE},1@b:2:{TWO}", "Node id 1 was specified more than once."),
        ("1", "No @ found in dynamic voter string."),
        (f"@a:1:{ONE}", "Invalid @ at beginning of dynamic voter string."),
        (f"x@a:1:{ONE}", "Failed to parse node id in dynamic voter string."),
        (f"2147483648@a:1:{ONE}", "Failed to parse node id in dynamic voter string."),
        (f"-1@a:1:{ONE}", "Invalid negative node id -1 in dynamic voter string."),
        ("1@", "No hostname found after node id."),
        (f"1@[::1:1:{ONE}", "Hostname began with left bracket, but no right bracket was found."),
        ("1@a", "No colon following hostname could be found."),
        (f"1@[::1]1:{ONE}", "Port section must start with a colon."),
        ("1@a:1", "No colon following port could be found."),
        (f"1@a:x:{ONE}", "Failed to parse port in dynamic voter string."),
        (f"1@a:65536:{ONE}", "Invalid port 65536 in dynamic voter string."),
        (f"1@a:-1:{ONE}", "Invalid port -1 in dynamic voter string."),
        ("1@a:1:", "Failed to parse directory ID in dynamic voter string."),
        ("1@a:1:short", "Failed to parse directory ID in dynamic voter string."),
    ],
)
def test_what_names_no_voters_is_refused_in_kafkas_words(text: str, problem: str) -> None:
    with pytest.raises(VoterTextError) as refused:
        parse_voters(text, "CONTROLLER")
    assert str(refused.value) == problem
