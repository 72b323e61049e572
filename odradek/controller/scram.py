"""AlterUserScramCredentials (KIP-554); it works without SASL too, so that credentials are there when SASL comes."""

from __future__ import annotations

from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.versions import SCRAM_SINCE
from odradek.security.scram import MAX_ITERATIONS, MECHANISMS, MIN_ITERATIONS, credential_record
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from odradek.wire.persistent.metadata.remove_user_scram_credential_record import RemoveUserScramCredentialRecord
from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord

_Change = ScramCredentialDeletion | ScramCredentialUpsertion


def alter_scram(
    state: ControllerState, request: AlterUserScramCredentialsRequest
) -> ControllerResult[AlterUserScramCredentialsResponse]:
    """One change per user and request; who is named twice is not changed."""
    changes: dict[str, _Change] = {}
    errors: dict[str, KafkaError] = {}
    wanted: list[_Change] = [*request.deletions, *request.upsertions]
    for change in wanted:
        name = change.name
        if name in errors:
            continue
        if changes.pop(name, None) is not None:
            errors[name] = KafkaError(
                ErrorCode.DUPLICATE_RESOURCE, "A user credential cannot be altered twice in the same request"
            )
            continue
        try:
            _check(state, change)
            changes[name] = change
        except KafkaError as error:
            errors[name] = error
    response = AlterUserScramCredentialsResponse()
    records = []
    for name, change in changes.items():
        records.append(VersionedRecord(_record(change), 0))
        response.results.append(AlterUserScramCredentialsResult(user=name, error_message=None))
    for name, refused in errors.items():
        response.results.append(
            AlterUserScramCredentialsResult(user=name, error_code=refused.code, error_message=refused.message)
        )
    return ControllerResult(response, records)


def _check(state: ControllerState, change: _Change) -> None:
    if state.metadata_version < SCRAM_SINCE:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, "The current metadata.version does not support SCRAM")
    if not change.name:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Username must not be empty")
    if change.mechanism not in MECHANISMS:
        raise KafkaError(ErrorCode.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism")
    if isinstance(change, ScramCredentialDeletion):
        if (change.mechanism, change.name) not in state.image.scram.credentials:
            raise KafkaError(ErrorCode.RESOURCE_NOT_FOUND, "Attempt to delete a user credential that does not exist")
    elif change.iterations < MIN_ITERATIONS:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too few iterations")
    elif change.iterations > MAX_ITERATIONS:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "Too many iterations")


def _record(
    change: _Change,
) -> RemoveUserScramCredentialRecord | UserScramCredentialRecord:
    if isinstance(change, ScramCredentialDeletion):
        return RemoveUserScramCredentialRecord(name=change.name, mechanism=change.mechanism)
    return credential_record(
        change.name, change.mechanism, bytes(change.salt), bytes(change.salted_password), change.iterations
    )
