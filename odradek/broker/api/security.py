"""Security's APIs as a broker without authorizer, SASL and token secret answers them, and SCRAM's credentials.

DescribeAcls (29), SaslHandshake (17), SaslAuthenticate (36), the delegation tokens' (38 to 41), and
DescribeUserScramCredentials (50, KIP-554), which works without SASL, too.
"""

from __future__ import annotations

from collections import Counter

from odradek.broker.replication.manager import ReplicaManager
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_delegation_token import CreateDelegationTokenRequest, CreateDelegationTokenResponse
from odradek.wire.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse
from odradek.wire.messages.describe_delegation_token import (
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
)
from odradek.wire.messages.describe_user_scram_credentials import (
    CredentialInfo,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)
from odradek.wire.messages.expire_delegation_token import ExpireDelegationTokenRequest, ExpireDelegationTokenResponse
from odradek.wire.messages.renew_delegation_token import RenewDelegationTokenRequest, RenewDelegationTokenResponse
from odradek.wire.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from odradek.wire.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse

_NO_TIME = -1


class SecurityApi:
    """Answers what concerns security on listeners that have none."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(Handler(DescribeAclsRequest, _describe_acls, Operation.DESCRIBE, ResourceType.CLUSTER)),
            erase(Handler(SaslHandshakeRequest, _sasl_handshake, Operation.ANY, ResourceType.CLUSTER)),
            erase(Handler(SaslAuthenticateRequest, _sasl_authenticate, Operation.ANY, ResourceType.CLUSTER)),
            erase(Handler(CreateDelegationTokenRequest, _create_token, Operation.CREATE_TOKENS, ResourceType.USER)),
            erase(Handler(RenewDelegationTokenRequest, _renew_token, Operation.ALTER, ResourceType.DELEGATION_TOKEN)),
            erase(Handler(ExpireDelegationTokenRequest, _expire_token, Operation.ALTER, ResourceType.DELEGATION_TOKEN)),
            erase(
                Handler(
                    DescribeDelegationTokenRequest,
                    _describe_tokens,
                    Operation.DESCRIBE,
                    ResourceType.DELEGATION_TOKEN,
                )
            ),
            erase(
                Handler(
                    DescribeUserScramCredentialsRequest,
                    self._describe_scram,
                    Operation.DESCRIBE,
                    ResourceType.CLUSTER,
                )
            ),
        ]

    async def _describe_scram(
        self, context: RequestContext, request: DescribeUserScramCredentialsRequest
    ) -> DescribeUserScramCredentialsResponse:
        known: dict[str, list[CredentialInfo]] = {}
        for (mechanism, user), credential in self._replicas.image.scram.credentials.items():
            known.setdefault(user, []).append(CredentialInfo(mechanism=mechanism, iterations=credential.iterations))
        mentions = Counter(user.name for user in request.users or ()) or Counter(known)
        results = []
        async for user, count in context.slices().each(sorted(mentions.items())):
            result = DescribeUserScramCredentialsResult(user=user)
            if count > 1:
                result.error_code = ErrorCode.DUPLICATE_RESOURCE
                result.error_message = (
                    f"Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
                )
            elif user not in known:
                result.error_code = ErrorCode.RESOURCE_NOT_FOUND
                result.error_message = f"Attempt to describe a user credential that does not exist: {user}"
            else:
                result.credential_infos = sorted(known[user], key=lambda info: info.mechanism)
            results.append(result)
        return DescribeUserScramCredentialsResponse(error_message="", results=results)


def _describe_acls(_context: RequestContext, _request: DescribeAclsRequest) -> DescribeAclsResponse:
    raise KafkaError(ErrorCode.SECURITY_DISABLED, "No Authorizer is configured on the broker")


def _sasl_handshake(_context: RequestContext, _request: SaslHandshakeRequest) -> SaslHandshakeResponse:
    return SaslHandshakeResponse(error_code=ErrorCode.ILLEGAL_SASL_STATE)


def _sasl_authenticate(_context: RequestContext, _request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
    raise KafkaError(ErrorCode.ILLEGAL_SASL_STATE, "SaslAuthenticate request received after successful authentication")


def _create_token(context: RequestContext, _request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse:
    response = CreateDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
        principal_type=context.principal.kind,
        principal_name=context.principal.name,
        token_requester_principal_type=context.principal.kind,
        token_requester_principal_name=context.principal.name,
    )
    response.issue_timestamp_ms = response.expiry_timestamp_ms = response.max_timestamp_ms = _NO_TIME
    return response


def _renew_token(_context: RequestContext, _request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse:
    return RenewDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, expiry_timestamp_ms=_NO_TIME
    )


def _expire_token(_context: RequestContext, _request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse:
    return ExpireDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, expiry_timestamp_ms=_NO_TIME
    )


def _describe_tokens(
    _context: RequestContext, _request: DescribeDelegationTokenRequest
) -> DescribeDelegationTokenResponse:
    return DescribeDelegationTokenResponse(error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED)
