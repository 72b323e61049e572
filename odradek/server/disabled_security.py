"""What brokers and controllers alike answer where there is no authorizer and no SASL: DescribeAcls (29),
SaslHandshake (17), SaslAuthenticate (36), RenewDelegationToken (39) and ExpireDelegationToken (40)."""

from __future__ import annotations

from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.describe_acls import DescribeAclsRequest, DescribeAclsResponse
from odradek.wire.messages.expire_delegation_token import ExpireDelegationTokenRequest, ExpireDelegationTokenResponse
from odradek.wire.messages.renew_delegation_token import RenewDelegationTokenRequest, RenewDelegationTokenResponse
from odradek.wire.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from odradek.wire.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse

_NO_TIME = -1


def disabled_security_handlers() -> list[AnyHandler]:
    """The declarations of these APIs."""
    return [
        erase(Handler(DescribeAclsRequest, _describe_acls, Operation.DESCRIBE, ResourceType.CLUSTER)),
        erase(Handler(SaslHandshakeRequest, _sasl_handshake, Operation.ANY, ResourceType.CLUSTER)),
        erase(Handler(SaslAuthenticateRequest, _sasl_authenticate, Operation.ANY, ResourceType.CLUSTER)),
        erase(Handler(RenewDelegationTokenRequest, _renew_token, Operation.ALTER, ResourceType.DELEGATION_TOKEN)),
        erase(Handler(ExpireDelegationTokenRequest, _expire_token, Operation.ALTER, ResourceType.DELEGATION_TOKEN)),
    ]


def _describe_acls(_context: RequestContext, _request: DescribeAclsRequest) -> DescribeAclsResponse:
    raise KafkaError(ErrorCode.SECURITY_DISABLED, "No Authorizer is configured on the broker")


def _sasl_handshake(_context: RequestContext, _request: SaslHandshakeRequest) -> SaslHandshakeResponse:
    return SaslHandshakeResponse(error_code=ErrorCode.ILLEGAL_SASL_STATE)


def _sasl_authenticate(_context: RequestContext, _request: SaslAuthenticateRequest) -> SaslAuthenticateResponse:
    raise KafkaError(ErrorCode.ILLEGAL_SASL_STATE, "SaslAuthenticate request received after successful authentication")


def _renew_token(_context: RequestContext, _request: RenewDelegationTokenRequest) -> RenewDelegationTokenResponse:
    return RenewDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, expiry_timestamp_ms=_NO_TIME
    )


def _expire_token(_context: RequestContext, _request: ExpireDelegationTokenRequest) -> ExpireDelegationTokenResponse:
    return ExpireDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, expiry_timestamp_ms=_NO_TIME
    )
