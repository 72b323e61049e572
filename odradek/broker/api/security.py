"""Security's APIs as a broker without authorizer, SASL and token secret answers them, and SCRAM's credentials.

CreateDelegationToken (38), DescribeDelegationToken (41), and DescribeUserScramCredentials (50, KIP-554), which works
without SASL, too.
"""

from __future__ import annotations

from collections import Counter

from odradek.broker.replication.manager import ReplicaManager
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.disabled_security import disabled_security_handlers
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_delegation_token import CreateDelegationTokenRequest, CreateDelegationTokenResponse
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

_NO_TIME = -1
_FIRST_WITH_REQUESTER = 3
"""From this version of CreateDelegationToken on the response names who has asked for the token."""


class SecurityApi:
    """Answers what concerns security on listeners that have none."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            *disabled_security_handlers(),
            erase(Handler(CreateDelegationTokenRequest, _create_token, Operation.CREATE_TOKENS, ResourceType.USER)),
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
        mentions = Counter(user.name for user in request.users or ()) or Counter(known.keys())
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


def _create_token(context: RequestContext, _request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse:
    response = CreateDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
        principal_type=context.principal.kind,
        principal_name=context.principal.name,
    )
    if context.api_version >= _FIRST_WITH_REQUESTER:
        response.token_requester_principal_type = context.principal.kind
        response.token_requester_principal_name = context.principal.name
    response.issue_timestamp_ms = response.expiry_timestamp_ms = response.max_timestamp_ms = _NO_TIME
    return response


def _describe_tokens(
    _context: RequestContext, _request: DescribeDelegationTokenRequest
) -> DescribeDelegationTokenResponse:
    return DescribeDelegationTokenResponse(error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED)
