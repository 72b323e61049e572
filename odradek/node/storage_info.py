"""What can be said of a node's directories without opening them as logs."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.config import BrokerConfig, ConfigError, parse_properties
from odradek.node.data_dirs import directories_of
from odradek.ports import FileSystem
from odradek.quorum.formatting import META_PROPERTIES_FILE, MetaProperties
from odradek.wire.errors import ProtocolError

_SHOWN = ("broker.id", "cluster.id", "directory.id", "node.id", "version")


def storage_info(config: BrokerConfig, files: FileSystem) -> tuple[list[str], list[str]]:
    """The lines that `kafka-storage info` prints, and the problems among them."""
    directories, problems = [], []
    first: Mapping[str, str] | None = None
    for path in sorted(directories_of(config)):
        problem = _directory_problem(files, path)
        if problem is not None:
            problems.append(problem)
            continue
        directories.append(path)
        name = f"{path}/{META_PROPERTIES_FILE}"
        try:
            found = _properties(files.read(name))
        except FileNotFoundError:
            problems.append(f"{path} is not formatted.")
            continue
        except (ProtocolError, ConfigError, OSError) as error:
            problems.append(f"Error loading {name}: {error}")
            continue
        if first is None:
            first = found
        elif found["cluster.id"] != first["cluster.id"]:
            problems.append("Mismatched cluster IDs between storage directories.")
        elif found.get("node.id") != first.get("node.id"):
            problems.append("Mismatched node IDs between storage directories.")
    if first is not None and first["version"] == "0":
        problems.append(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are formatted "
            "for legacy mode."
        )
    return [*_directory_lines(directories), *_metadata_lines(first), *_problem_lines(problems)], problems


def _directory_problem(files: FileSystem, path: str) -> str | None:
    try:
        files.list(path)
    except FileNotFoundError:
        return f"{path} does not exist"
    except NotADirectoryError:
        return f"{path} is not a directory"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None


def _properties(data: bytes) -> Mapping[str, str]:
    """Raises ProtocolError or ConfigError for what is none of Kafka's two forms."""
    properties = parse_properties(data.decode("latin-1"))
    properties.setdefault("version", "0")
    if properties["version"] == "0":
        return {"cluster.id": "", **properties}
    MetaProperties.from_bytes(data)
    return properties


def _directory_lines(directories: list[str]) -> list[str]:
    if not directories:
        return []
    title = "Found log directory:" if len(directories) == 1 else "Found log directories:"
    return [title, *(f"  {path}" for path in directories), ""]


def _metadata_lines(properties: Mapping[str, str] | None) -> list[str]:
    if properties is None:
        return []
    shown = ", ".join(f"{name}={properties[name]}" for name in _SHOWN if properties.get(name))
    return [f"Found metadata: {{{shown}}}", ""]


def _problem_lines(problems: list[str]) -> list[str]:
    if not problems:
        return []
    title = "Found problem:" if len(problems) == 1 else "Found problems:"
    return [title, *(f"  {problem}" for problem in problems), ""]
