"""Nodes and what they agree on: registration (62, 70), heartbeats (63), unregistration (64, 94), producer ids (67),
directories of replicas (73), features (57)."""

from __future__ import annotations

from odradek.controller.api.common import check_cluster
from odradek.controller.brokers import (
    heartbeat,
    register_broker,
    register_controller,
    unregister_broker,
    unregister_controller,
)
from odradek.controller.controller import Controller
from odradek.controller.directories import assign_replicas_to_dirs
from odradek.controller.features import update_features, updates_of
from odradek.controller.producer_ids import allocate_producer_ids
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import KafkaError
from odradek.wire.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from odradek.wire.messages.assign_replicas_to_dirs import AssignReplicasToDirsRequest, AssignReplicasToDirsResponse
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from odradek.wire.messages.controller_registration import (
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
)
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.messages.unregister_controller import UnregisterControllerRequest, UnregisterControllerResponse
from odradek.wire.messages.update_features import (
    UpdatableFeatureResult,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)

LAST_WITH_FEATURE_RESULTS = 1
ALL_FAILED = "The update failed for all features since the following feature had an error: "


class ClusterApi:
    """The nodes of the cluster."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        action, alter, cluster = Operation.CLUSTER_ACTION, Operation.ALTER, ResourceType.CLUSTER
        return [
            erase(Handler(BrokerRegistrationRequest, self._register, action, cluster)),
            erase(
                Handler(
                    BrokerHeartbeatRequest,
                    self._heartbeat,
                    action,
                    cluster,
                    differences=(
                        "A broker that was told to shut down may register again at once; in Kafka only after "
                        "`broker.session.timeout.ms`.",
                    ),
                )
            ),
            erase(Handler(AssignReplicasToDirsRequest, self._assign_directories, action, cluster)),
            erase(Handler(ControllerRegistrationRequest, self._register_controller, action, cluster)),
            erase(Handler(AllocateProducerIdsRequest, self._allocate, action, cluster)),
            erase(
                Handler(
                    UnregisterBrokerRequest,
                    self._unregister,
                    alter,
                    cluster,
                    differences=(
                        "A broker that is unregistered while it runs registers again; in Kafka it stays out until it "
                        "is started anew.",
                    ),
                )
            ),
            erase(Handler(UnregisterControllerRequest, self._unregister_controller, alter, cluster)),
            erase(
                Handler(
                    UpdateFeaturesRequest,
                    self._update_features,
                    alter,
                    cluster,
                    _update_failed,
                )
            ),
        ]

    def _register(
        self, context: RequestContext, request: BrokerRegistrationRequest
    ) -> Promise[BrokerRegistrationResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._controller.submit(
            lambda state: register_broker(state, request, self._controller.raft.kraft_version)
        )

    def _heartbeat(self, context: RequestContext, request: BrokerHeartbeatRequest) -> Promise[BrokerHeartbeatResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._controller.submit(lambda state: heartbeat(state, request))

    def _assign_directories(
        self, context: RequestContext, request: AssignReplicasToDirsRequest
    ) -> Promise[AssignReplicasToDirsResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._controller.submit(lambda state: assign_replicas_to_dirs(state, request))

    def _register_controller(
        self, context: RequestContext, request: ControllerRegistrationRequest
    ) -> Promise[ControllerRegistrationResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._controller.submit(lambda state: register_controller(state, request))

    def _allocate(
        self, context: RequestContext, request: AllocateProducerIdsRequest
    ) -> Promise[AllocateProducerIdsResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._controller.submit(lambda state: allocate_producer_ids(state, request))

    def _unregister(
        self, context: RequestContext, request: UnregisterBrokerRequest
    ) -> Promise[UnregisterBrokerResponse]:
        check_cluster(context, Operation.ALTER)
        return self._controller.submit(lambda state: unregister_broker(state, request))

    def _unregister_controller(
        self, context: RequestContext, request: UnregisterControllerRequest
    ) -> Promise[UnregisterControllerResponse]:
        check_cluster(context, Operation.ALTER)
        return self._controller.submit(lambda state: unregister_controller(state, request))

    def _update_features(
        self, context: RequestContext, request: UpdateFeaturesRequest
    ) -> Promise[UpdateFeaturesResponse]:
        check_cluster(context, Operation.ALTER)
        version = context.api_version
        updates = updates_of(request, version)
        raft = self._controller.raft
        decided = self._controller.submit(
            lambda state: update_features(state, updates, raft, validate_only=request.validate_only)
        )
        return decided.then(lambda _done: _updated(request, version))


def _updated(request: UpdateFeaturesRequest, version: int) -> UpdateFeaturesResponse:
    response = UpdateFeaturesResponse(error_message=None)
    if version <= LAST_WITH_FEATURE_RESULTS:
        response.results = [
            UpdatableFeatureResult(feature=each.feature, error_message="NONE") for each in request.feature_updates
        ]
    return response


def _update_failed(_request: UpdateFeaturesRequest, _version: int, error: KafkaError) -> UpdateFeaturesResponse:
    message = error.message or error.code.message
    return UpdateFeaturesResponse(error_code=error.code, error_message=ALL_FAILED + message)
