"""What a cluster without an authorizer and without SASL answers to CreateAcls (30), DeleteAcls (31) and
CreateDelegationToken (38)."""

from __future__ import annotations

from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.disabled_security import disabled_security_handlers
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_acls import AclCreationResult, CreateAclsRequest, CreateAclsResponse
from odradek.wire.messages.create_delegation_token import CreateDelegationTokenRequest, CreateDelegationTokenResponse
from odradek.wire.messages.delete_acls import DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse

NO_AUTHORIZER = "No Authorizer is configured."
NO_TIME = -1

_FIRST_WITH_REQUESTER = 3
"""From this version of CreateDelegationToken on the response names who has asked for the token."""


class DisabledSecurityApi:
    """Without an authorizer there are no ACLs; delegation tokens are for connections that are authenticated."""

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        alter, cluster, token = Operation.ALTER, ResourceType.CLUSTER, ResourceType.DELEGATION_TOKEN
        return [
            *disabled_security_handlers(),
            erase(Handler(CreateAclsRequest, _create_acls, alter, cluster, _create_acls_failed)),
            erase(Handler(DeleteAclsRequest, _delete_acls, alter, cluster, _delete_acls_failed)),
            erase(Handler(CreateDelegationTokenRequest, _create_token, Operation.CREATE_TOKENS, token)),
        ]


def _create_acls(context: RequestContext, request: CreateAclsRequest) -> CreateAclsResponse:
    return _create_acls_failed(request, context.api_version, KafkaError(ErrorCode.SECURITY_DISABLED, NO_AUTHORIZER))


def _create_acls_failed(request: CreateAclsRequest, _version: int, error: KafkaError) -> CreateAclsResponse:
    return CreateAclsResponse(
        results=[
            AclCreationResult(error_code=error.code, error_message=error.message) for _creation in request.creations
        ]
    )


def _delete_acls(context: RequestContext, request: DeleteAclsRequest) -> DeleteAclsResponse:
    return _delete_acls_failed(request, context.api_version, KafkaError(ErrorCode.SECURITY_DISABLED, NO_AUTHORIZER))


def _delete_acls_failed(request: DeleteAclsRequest, _version: int, error: KafkaError) -> DeleteAclsResponse:
    return DeleteAclsResponse(
        filter_results=[
            DeleteAclsFilterResult(error_code=error.code, error_message=error.message) for _filter in request.filters
        ]
    )


def _create_token(context: RequestContext, request: CreateDelegationTokenRequest) -> CreateDelegationTokenResponse:
    requester = context.principal
    is_for_other = bool(request.owner_principal_name)
    response = CreateDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED,
        principal_type=(request.owner_principal_type or "") if is_for_other else requester.kind,
        principal_name=(request.owner_principal_name or "") if is_for_other else requester.name,
        issue_timestamp_ms=NO_TIME,
        expiry_timestamp_ms=NO_TIME,
        max_timestamp_ms=NO_TIME,
    )
    if context.api_version >= _FIRST_WITH_REQUESTER:
        response.token_requester_principal_type = requester.kind
        response.token_requester_principal_name = requester.name
    return response
