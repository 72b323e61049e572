"""SCRAM credentials (RFC 5802) as Kafka keeps them, and the text that formatting takes them from (KIP-900)."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from binascii import a2b_base64
from collections.abc import Mapping
from types import MappingProxyType

from odradek.ports import Random
from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord

MECHANISMS: Mapping[int, str] = MappingProxyType({1: "sha256", 2: "sha512"})
"""Codes of SCRAM-SHA-256 and SCRAM-SHA-512 in requests and records -> their hash."""
MECHANISM_NAMES: Mapping[str, int] = MappingProxyType({"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2})
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 16384
_SALT_BYTES = 26


class ScramArgumentError(ValueError):
    """A credential on the command line is not one; the text is Kafka's."""


def credential_record(
    name: str, mechanism: int, salt: bytes, salted_password: bytes, iterations: int
) -> UserScramCredentialRecord:
    """The record that holds what a server has to know, which is not enough to log in."""
    algorithm = MECHANISMS[mechanism]
    client_key = hmac.digest(salted_password, b"Client Key", algorithm)
    return UserScramCredentialRecord(
        name=name,
        mechanism=mechanism,
        salt=salt,
        stored_key=hashlib.new(algorithm, client_key).digest(),
        server_key=hmac.digest(salted_password, b"Server Key", algorithm),
        iterations=iterations,
    )


def parse_credential(argument: str, random: Random) -> UserScramCredentialRecord:
    """Read `SCRAM-SHA-256=[name=alice,password=secret]` of `--add-scram`; raises ScramArgumentError.

    In place of a password, `salt` and `saltedpassword` (base64) may be given; `iterations` is 4096 by default.
    """
    mechanism_name, fields = _mechanism_and_fields(argument.strip())
    mechanism = MECHANISM_NAMES[mechanism_name]
    name = fields.pop("name", None)
    if name is None:
        raise ScramArgumentError("You must supply 'name' to add-scram")
    given_salt = fields.pop("salt", None)
    salt = None if given_salt is None else _decoded("salt", given_salt)
    iterations = _iterations(fields.pop("iterations", str(MIN_ITERATIONS)))
    password, salted = fields.pop("password", None), fields.pop("saltedpassword", None)
    if password is None and salted is None:
        raise ScramArgumentError("You must supply one of 'password' or 'saltedpassword' to add-scram")
    if password is None and salt is None:
        raise ScramArgumentError("You must supply 'salt' with 'saltedpassword' to add-scram")
    # As in Kafka, a password makes a salted one stay where it is: among what is not understood.
    if password is not None and salted is not None:
        fields["saltedpassword"] = salted
    salted_password = b"" if salted is None else _decoded("saltedPassword", salted)
    if fields:
        raise ScramArgumentError(f"Unknown SCRAM configurations: {', '.join(sorted(fields))}")
    _check_iterations(iterations, mechanism_name)
    if salt is None:
        salt = binascii.hexlify(random.token(_SALT_BYTES // 2))
    if password is not None:
        salted_password = hashlib.pbkdf2_hmac(MECHANISMS[mechanism], password.encode(), salt, iterations)
    return credential_record(name, mechanism, salt, salted_password, iterations)


def _mechanism_and_fields(argument: str) -> tuple[str, dict[str, str]]:
    mechanism, equals, text = argument.partition("=")
    if not equals:
        raise ScramArgumentError(f"Failed to find equals sign in SCRAM argument '{argument}'")
    if mechanism not in MECHANISM_NAMES:
        raise ScramArgumentError(f"The add-scram mechanism {mechanism} is not supported.")
    if not text.startswith("["):
        raise ScramArgumentError("Expected configuration string to start with [")
    if not text.endswith("]"):
        raise ScramArgumentError("Expected configuration string to end with ]")
    fields: dict[str, str] = {}
    for component in text[1:-1].split(","):
        name, equals, value = component.partition("=")
        if not equals:
            raise ScramArgumentError(f"No equals sign found in SCRAM component: {component}")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        fields[name] = value
    return mechanism, fields


def _decoded(what: str, text: str) -> bytes:
    try:
        return a2b_base64(text.encode("ascii") + b"=" * (-len(text) % 4), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ScramArgumentError(f"Failed to decode given {what}: {text}") from error


def _iterations(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ScramArgumentError(f"Failed to parse iterations count: {text}") from error


def _check_iterations(iterations: int, mechanism_name: str) -> None:
    shown = mechanism_name.replace("-", "_")
    if iterations < MIN_ITERATIONS:
        raise ScramArgumentError(f"The 'iterations' value must be >= {MIN_ITERATIONS} for add-scram using {shown}")
    if iterations > MAX_ITERATIONS:
        raise ScramArgumentError(f"The 'iterations' value must be <= {MAX_ITERATIONS} for add-scram using {shown}")
