"""SCRAM credentials on the command line, and what Apache Kafka 4.4.0 makes of the same ones."""

from __future__ import annotations

import pytest

from odradek.security.scram import ScramArgumentError, credential_record, parse_credential
from tests.unit.fakes import FakeWorld

# Printed by `kafka-storage format --add-scram` for this argument.
ARGUMENT = 'SCRAM-SHA-256=[name=alice,password=secret,salt="N3E="]'
STORED = bytes.fromhex("28cd5f6e1f89377675 49de21a636c3e62535ebce27d12bfbbd148aed4e3b7676")
SERVER = bytes.fromhex("aae1aa1397be089f7c6885e1deb12c68071dc63e237d1f767e84e3bd09727b94")


def test_a_password_becomes_the_keys_that_kafka_derives_from_it() -> None:
    record = parse_credential(ARGUMENT, FakeWorld())
    assert (record.name, record.mechanism, record.salt, record.iterations) == ("alice", 1, b"7q", 4096)
    assert (record.stored_key, record.server_key) == (STORED, SERVER)


def test_a_salted_password_may_be_given_in_its_place() -> None:
    argument = "SCRAM-SHA-512=[name=alice,iterations=8192,salt=N3E=,saltedpassword=YCE=]"
    assert parse_credential(argument, FakeWorld()) == credential_record("alice", 2, b"7q", b"`!", 8192)


def test_a_salt_is_drawn_for_each_user() -> None:
    world = FakeWorld()
    one, two = (parse_credential("SCRAM-SHA-256=[name=a,password=b]", world) for _ in range(2))
    assert one.salt != two.salt
    assert one.stored_key != two.stored_key
    assert len(one.salt) >= 16


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("SCRAM-SHA-256", "Failed to find equals sign in SCRAM argument 'SCRAM-SHA-256'"),
        ("SCRAM-SHA-1=[name=a]", "The add-scram mechanism SCRAM-SHA-1 is not supported."),
        ("SCRAM-SHA-256=name=a]", "Expected configuration string to start with ["),
        ("SCRAM-SHA-256=[name=a", "Expected configuration string to end with ]"),
        ("SCRAM-SHA-256=[password=b]", "You must supply 'name' to add-scram"),
        ("SCRAM-SHA-256=[name]", "No equals sign found in SCRAM component: name"),
        ("SCRAM-SHA-256=[name=a]", "You must supply one of 'password' or 'saltedpassword' to add-scram"),
        ("SCRAM-SHA-256=[name=a,saltedpassword=YCE=]", "You must supply 'salt' with 'saltedpassword' to add-scram"),
        ("SCRAM-SHA-256=[name=a,password=b,salt=!]", "Failed to decode given salt: !"),
        (
            "SCRAM-SHA-256=[name=a,salt=N3E=,saltedpassword=\xe9]",
            "Failed to decode given saltedPassword: \xe9",
        ),
        ("SCRAM-SHA-256=[name=a,password=b,iterations=x]", "Failed to parse iterations count: x"),
        ("SCRAM-SHA-256=[name=a,password=b,color=red]", "Unknown SCRAM configurations: color"),
        (
            "SCRAM-SHA-256=[name=a,password=b,iterations=4095]",
            "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_256",
        ),
        (
            "SCRAM-SHA-512=[name=a,password=b,iterations=16385]",
            "The 'iterations' value must be <= 16384 for add-scram using SCRAM_SHA_512",
        ),
    ],
)
def test_what_is_no_credential_is_refused_in_kafkas_words(argument: str, problem: str) -> None:
    with pytest.raises(ScramArgumentError) as refused:
        parse_credential(argument, FakeWorld())
    assert str(refused.value) == problem
