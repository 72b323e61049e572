"""What a broker does and leaves by the finalized levels of features."""

from __future__ import annotations

from odradek.config import BrokerConfig
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.features import GROUP_VERSION, METADATA_VERSION
from odradek.metadata.image import MetadataImage
from odradek.metadata.versions import DIRECTORIES_SINCE, metadata_version_name
from odradek.node.start_error import StartError


def knows_directories(image: MetadataImage) -> bool:
    """Whether metadata.version keeps which log directory holds which replica (KIP-858)."""
    return image.features.finalized.get(METADATA_VERSION, 0) >= DIRECTORIES_SINCE


def check_version(config: BrokerConfig, image: MetadataImage) -> None:
    """Raise StartError for several log directories where metadata.version does not know of such."""
    level = image.features.finalized.get(METADATA_VERSION, 0)
    if len(config.log_dirs) > 1 and not knows_directories(image):
        raise StartError(
            "Multiple log directories (aka JBOD) are not supported in the current MetadataVersion "
            f"{metadata_version_name(level)}. Need {metadata_version_name(DIRECTORIES_SINCE)} or higher"
        )


def needs_registration(delta: MetadataDelta, image: MetadataImage, node_id: int) -> bool:
    """Whether a broker has to register again: under an older metadata.version it had no directories."""
    if not delta.features_changed and node_id not in delta.changed_brokers:
        return False
    registered = image.cluster.brokers.get(node_id)
    return registered is not None and not registered.directories and knows_directories(image)


def offers_consumer_protocol(config: BrokerConfig, image: MetadataImage) -> bool:
    """Whether groups of KIP-848 are served: by this broker, and by the cluster."""
    is_configured = "consumer" in config.list_("group.coordinator.rebalance.protocols")
    return is_configured and image.features.finalized.get(GROUP_VERSION, 0) > 0
