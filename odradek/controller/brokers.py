"""Which brokers and controllers there are: registration, heartbeats, fencing, controlled shutdown, unregistration."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.controller.directories import directories_went_offline
from odradek.controller.leadership import (
    broker_came,
    broker_left,
    broker_lost_data,
    broker_unregistered,
    leads_any,
)
from odradek.controller.partitions import checked_broker
from odradek.controller.result import ControllerResult
from odradek.controller.sessions import BrokerSession
from odradek.controller.state import ControllerState
from odradek.controller.topics import check_size
from odradek.metadata.cluster_delta import FENCE, UNFENCE
from odradek.metadata.features import KRAFT_VERSION, METADATA_VERSION
from odradek.metadata.image import BrokerRegistration, ControllerRegistration, Endpoint
from odradek.metadata.snapshot import VersionedRecord, broker_record, controller_record
from odradek.metadata.versions import CONTROLLERS_GO_SINCE, CONTROLLERS_SINCE, CORDONED_SINCE, DIRECTORIES_SINCE
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from odradek.wire.messages.controller_registration import (
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
)
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.messages.unregister_controller import UnregisterControllerRequest, UnregisterControllerResponse
from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
from odradek.wire.persistent.metadata.unregister_broker_record import UnregisterBrokerRecord
from odradek.wire.persistent.metadata.unregister_controller_record import UnregisterControllerRecord
from odradek.wire.uuids import Uuid, uuid_to_string

FENCING_VERSION = 0
SHUTDOWN_VERSION = 1
CORDONED_VERSION = 3
RESERVED_DIRECTORY_IDS = 100


def register_broker(
    state: ControllerState, request: BrokerRegistrationRequest, kraft_version: int
) -> ControllerResult[BrokerRegistrationResponse]:
    """Take in a broker, fenced; a new incarnation gets the next offset of the log as its epoch.

    A broker that cannot say which epoch it last shut down in cleanly may have lost what was not on its disk (KIP-966).
    Raises INCONSISTENT_CLUSTER_ID, DUPLICATE_BROKER_REGISTRATION while another incarnation is alive,
    INVALID_REGISTRATION for its directories or without `metadata.version`, UNSUPPORTED_VERSION for its features.
    """
    if request.cluster_id != state.identity.cluster_id:
        raise KafkaError(
            ErrorCode.INCONSISTENT_CLUSTER_ID,
            f"Expected cluster ID {state.identity.cluster_id}, but got cluster ID {request.cluster_id}",
        )
    existing = state.image.cluster.brokers.get(request.broker_id)
    same = existing if existing is not None and existing.incarnation_id == request.incarnation_id else None
    if existing is not None and same is None and _is_alive(state, existing):
        raise KafkaError(
            ErrorCode.DUPLICATE_BROKER_REGISTRATION,
            "Another broker is registered with that broker id. If the broker was recently restarted this should "
            "self-resolve once the heartbeat manager expires the broker's session.",
        )
    if request.is_migrating_zk_broker:
        raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, "Controller does not support registering ZK brokers.")
    if state.metadata_version >= DIRECTORIES_SINCE:
        _check_directories(state, request.broker_id, request.log_dirs)
    registration = BrokerRegistration(
        id=request.broker_id,
        epoch=state.next_offset if same is None else same.epoch,
        incarnation_id=request.incarnation_id,
        endpoints={
            each.name: Endpoint(each.name, each.host, each.port, each.security_protocol) for each in request.listeners
        },
        features=_checked_features(state, request, kraft_version),
        rack=request.rack,
        fenced=True if same is None else same.fenced,
        in_controlled_shutdown=False if same is None else same.in_controlled_shutdown,
        directories=tuple(request.log_dirs),
        cordoned_directories=None,
    )
    records: list[VersionedRecord] = []
    if same is None:
        state.sessions.remove(request.broker_id)
        was_clean = existing is not None and existing.epoch == request.previous_broker_epoch
        departed = broker_left if was_clean or not state.elr_enabled else broker_lost_data
        records += departed(state, request.broker_id)
    records.append(broker_record(registration, state.writing))
    response = BrokerRegistrationResponse(broker_epoch=registration.epoch)
    return ControllerResult(response, records, is_atomic=False)


def _is_alive(state: ControllerState, broker: BrokerRegistration) -> bool:
    return state.sessions.is_valid(broker.id, broker.epoch, state.clock.monotonic_ms())


def _check_directories(state: ControllerState, broker_id: int, directories: Sequence[Uuid]) -> None:
    problem = None
    if not directories:
        problem = "No directories specified in request"
    elif any(int.from_bytes(directory, "big") < RESERVED_DIRECTORY_IDS for directory in directories):
        problem = "Reserved directory ID in request"
    elif len(set(directories)) != len(directories):
        problem = "Duplicate directory ID in request"
    else:
        for other in state.image.cluster.brokers.values():
            taken = [directory for directory in directories if directory in other.directories]
            if other.id != broker_id and taken and problem is None:
                problem = f"Broker {other.id} is already registered with directory {uuid_to_string(taken[0])}"
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REGISTRATION, problem)


def _checked_features(
    state: ControllerState, request: BrokerRegistrationRequest, kraft_version: int
) -> dict[str, tuple[int, int]]:
    """What the broker supports must include what is finalized, be it that a feature is off."""
    features = {
        feature.name: (feature.min_supported_version, feature.max_supported_version) for feature in request.features
    }
    if METADATA_VERSION not in features:
        raise KafkaError(ErrorCode.INVALID_REGISTRATION, "Request features do not contain 'metadata.version'")
    finalized = {**state.image.features.finalized, KRAFT_VERSION: kraft_version}
    for name in (*features, *(each for each in finalized if each not in features)):
        level = finalized.get(name, 0)
        low, high = features.get(name, (0, 0))
        if not low <= level <= high:
            raise KafkaError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"Unable to register because the broker does not support finalized version {level} of {name}. "
                f"The broker wants a version between {low} and {high}, inclusive.",
            )
    return features


def heartbeat(state: ControllerState, request: BrokerHeartbeatRequest) -> ControllerResult[BrokerHeartbeatResponse]:
    """The broker is alive, and may want to be unfenced, fenced or shut down. Raises STALE_BROKER_EPOCH."""
    broker = checked_broker(state, request.broker_id, request.broker_epoch)
    session = state.sessions.touch(broker.id, broker.epoch, state.clock.monotonic_ms(), request.current_metadata_offset)
    is_caught_up = request.current_metadata_offset >= state.registration_offsets.get(broker.id, broker.epoch)
    response = BrokerHeartbeatResponse(is_caught_up=is_caught_up, is_fenced=broker.fenced)
    if broker.fenced:
        records = _heard_of_fenced(state, broker, request, response)
    elif session.is_shutting_down:
        records = _heard_of_departing(state, broker, session, response)
    else:
        records = _heard_of_unfenced(state, broker, session, request, response)
    records += directories_went_offline(state, broker, request.offline_log_dirs)
    if state.metadata_version >= CORDONED_SINCE:
        records += _cordon(broker, request)
    return ControllerResult(response, records, is_atomic=False)


def _heard_of_fenced(
    state: ControllerState,
    broker: BrokerRegistration,
    request: BrokerHeartbeatRequest,
    response: BrokerHeartbeatResponse,
) -> list[VersionedRecord]:
    if request.want_shut_down:
        return _let_go(state, broker, response)
    has_lost = any(directory in broker.directories for directory in request.offline_log_dirs)
    if request.want_fence or has_lost or not response.is_caught_up:
        return []  # what it has in lost directories it shall not lead: they are noted first
    response.is_fenced = False
    return unfence(state, broker)


def _heard_of_unfenced(
    state: ControllerState,
    broker: BrokerRegistration,
    session: BrokerSession,
    request: BrokerHeartbeatRequest,
    response: BrokerHeartbeatResponse,
) -> list[VersionedRecord]:
    if request.want_fence and not request.want_shut_down:
        response.is_fenced = True
        return fence(state, broker)
    if request.want_fence or (request.want_shut_down and not leads_any(state, broker.id)):
        return _let_go(state, broker, response)
    if not request.want_shut_down:
        return []
    records = _begin_shutdown(state, broker)
    session.shutdown_offset = state.next_offset + len(records) - 1
    return records


def _heard_of_departing(
    state: ControllerState, broker: BrokerRegistration, session: BrokerSession, response: BrokerHeartbeatResponse
) -> list[VersionedRecord]:
    """It goes once it leads nothing and the other brokers know who leads instead."""
    others = [other.id for other in state.image.cluster.brokers.values() if other.is_active]
    is_followed = all(state.sessions.metadata_offset(other) >= session.shutdown_offset for other in others)
    if leads_any(state, broker.id) or not is_followed:
        return []
    return _let_go(state, broker, response)


def _let_go(
    state: ControllerState, broker: BrokerRegistration, response: BrokerHeartbeatResponse
) -> list[VersionedRecord]:
    """The process may end. What ends by itself has no session, so it can start again at once, unlike in Kafka."""
    response.is_fenced = True
    response.should_shut_down = True
    state.sessions.remove(broker.id)
    return [] if broker.fenced else fence(state, broker)


def _begin_shutdown(state: ControllerState, broker: BrokerRegistration) -> list[VersionedRecord]:
    records = []
    if not broker.in_controlled_shutdown:
        change = BrokerRegistrationChangeRecord(
            broker_id=broker.id, broker_epoch=broker.epoch, in_controlled_shutdown=1
        )
        records.append(VersionedRecord(change, SHUTDOWN_VERSION))
    return records + broker_left(state, broker.id)


def _cordon(broker: BrokerRegistration, request: BrokerHeartbeatRequest) -> list[VersionedRecord]:
    cordoned = request.cordoned_log_dirs
    before = broker.cordoned_directories
    if cordoned is None or (before is not None and sorted(cordoned) == sorted(before)):
        return []
    change = BrokerRegistrationChangeRecord(
        broker_id=broker.id, broker_epoch=broker.epoch, cordoned_log_dirs=list(cordoned)
    )
    return [VersionedRecord(change, CORDONED_VERSION)]


def unfence(state: ControllerState, broker: BrokerRegistration) -> list[VersionedRecord]:
    """Let a broker serve."""
    change = BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, fenced=UNFENCE)
    return [VersionedRecord(change, FENCING_VERSION), *broker_came(state, broker.id)]


def fence(state: ControllerState, broker: BrokerRegistration) -> list[VersionedRecord]:
    """Take a broker out of service."""
    change = BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, fenced=FENCE)
    return [*broker_left(state, broker.id), VersionedRecord(change, FENCING_VERSION)]


def fence_stale_broker(state: ControllerState) -> ControllerResult[int | None]:
    """Fence one broker that was not heard of for a session time-out; its id, or None if all were."""
    now_ms = state.clock.monotonic_ms()
    for broker in state.image.cluster.brokers.values():
        if not broker.fenced and not state.sessions.is_valid(broker.id, broker.epoch, now_ms):
            state.sessions.remove(broker.id)
            return ControllerResult(broker.id, fence(state, broker), is_atomic=False)
    return ControllerResult(None)


def unregister_broker(
    state: ControllerState, request: UnregisterBrokerRequest
) -> ControllerResult[UnregisterBrokerResponse]:
    """Forget a broker; BROKER_ID_NOT_REGISTERED if there is none."""
    broker = state.image.cluster.brokers.get(request.broker_id)
    if broker is None:
        raise KafkaError(
            ErrorCode.BROKER_ID_NOT_REGISTERED, f"Broker ID {request.broker_id} is not currently registered"
        )
    state.sessions.remove(broker.id)
    record = UnregisterBrokerRecord(broker_id=broker.id, broker_epoch=broker.epoch)
    records = [*broker_unregistered(state, broker.id), VersionedRecord(record, 0)]
    check_size(records)
    return ControllerResult(UnregisterBrokerResponse(), records, is_atomic=False)


def register_controller(
    state: ControllerState, request: ControllerRegistrationRequest
) -> ControllerResult[ControllerRegistrationResponse]:
    """Take in a controller (KIP-919); UNSUPPORTED_VERSION before metadata.version 3.7-IV0."""
    if state.metadata_version < CONTROLLERS_SINCE:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION,
            "The current MetadataVersion is too old to support controller registrations.",
        )
    registration = ControllerRegistration(
        id=request.controller_id,
        incarnation_id=request.incarnation_id,
        endpoints={
            each.name: Endpoint(each.name, each.host, each.port, each.security_protocol) for each in request.listeners
        },
        features={
            feature.name: (feature.min_supported_version, feature.max_supported_version) for feature in request.features
        },
        zk_migration_ready=False,
    )
    return ControllerResult(ControllerRegistrationResponse(), [controller_record(registration)])


def unregister_controller(
    state: ControllerState, request: UnregisterControllerRequest
) -> ControllerResult[UnregisterControllerResponse]:
    """Forget a controller; CONTROLLER_ID_NOT_REGISTERED if there is none, INVALID_REQUEST for the active one itself."""
    if request.controller_id == state.identity.node_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Controller cannot unregister itself while it is active.")
    if state.metadata_version < CONTROLLERS_GO_SINCE:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION,
            "The current MetadataVersion is too old to support controller unregistration.",
        )
    if request.controller_id not in state.image.cluster.controllers:
        raise KafkaError(
            ErrorCode.CONTROLLER_ID_NOT_REGISTERED,
            f"Controller ID {request.controller_id} is not currently registered.",
        )
    record = UnregisterControllerRecord(controller_id=request.controller_id)
    return ControllerResult(UnregisterControllerResponse(), [VersionedRecord(record, 0)])
