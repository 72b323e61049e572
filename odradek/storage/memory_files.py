"""A file system in memory: what `--in-memory` stores its logs in, and most tests."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from odradek.ports.files import Buffer


class _Node:
    """A file's content; it outlives its name while somebody has it open."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()


class MemoryFile:
    """An open file of a `MemoryFileSystem`."""

    __slots__ = ("_node", "_path", "_read_only")

    def __init__(self, path: str, node: _Node, read_only: bool) -> None:
        self._path = path
        self._node: _Node | None = node
        self._read_only = read_only

    @property
    def path(self) -> str:
        """The path it was opened at."""
        return self._path

    def size(self) -> int:
        """Length in bytes."""
        return len(self._content())

    def pread(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset`."""
        return bytes(self._content()[offset : offset + size])

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write all of `data` at `offset`; a gap before it is filled with zeros."""
        content = self._writable()
        length = len(content)
        if offset == length:
            content += data
        else:
            if offset > length:
                content.extend(bytes(offset - length))
            content[offset : offset + len(data)] = data
        return len(data)

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write `buffers` one behind the other."""
        position = offset
        for buffer in buffers:
            position += self.pwrite(buffer, position)
        return position - offset

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        content = self._writable()
        if size < len(content):
            del content[size:]
        else:
            content.extend(bytes(size - len(content)))

    def reserve(self, offset: int, size: int) -> bool:  # noqa: ARG002 - the port has them
        """Nothing would become cheaper."""
        return False

    def sync(self) -> None:
        """Nothing to do: nothing survives anyway."""
        self._content()

    def fileno(self) -> int | None:
        """None: there is no descriptor."""
        return None

    def pread_warm(self, size: int, offset: int) -> bytes | None:
        """`pread`."""
        return self.pread(size, offset)

    def is_warm(self, size: int, offset: int) -> bool:  # noqa: ARG002 - the port has them
        """Always."""
        return True

    def close(self) -> None:
        """Release it."""
        self._node = None

    def _content(self) -> bytearray:
        if self._node is None:
            raise OSError(errno.EBADF, "the file is closed", self._path)
        return self._node.data

    def _writable(self) -> bytearray:
        if self._read_only:
            raise OSError(errno.EBADF, "the file is open for reading only", self._path)
        return self._content()


class MemoryMappedFile:
    """A copy of a closed file's content."""

    __slots__ = ("_view",)

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)

    @property
    def view(self) -> memoryview:
        """The content."""
        return self._view

    def close(self) -> None:
        """Release it."""


class MemoryFileSystem:
    """Files and directories in dictionaries, gone with the object."""

    def __init__(self) -> None:
        self._files: dict[str, _Node] = {}
        self._dirs: dict[str, dict[str, bool]] = {"": {}}
        """Directory -> its names, each with whether that is a directory."""

    @property
    def max_open_files(self) -> int:
        """Nothing of the system's is used up; a large number."""
        return 1 << 20

    @property
    def knows_page_cache(self) -> bool:
        """Nothing ever waits."""
        return False

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        """Open an existing file, or create it."""
        path = _normal(path)
        node = self._files.get(path)
        if node is None:
            if not create:
                raise _missing(path)
            node = _Node()
            self._add(path, node)
        return MemoryFile(path, node, read_only)

    def map(self, path: str) -> MemoryMappedFile:
        """The content of a file that is not written any more."""
        return MemoryMappedFile(self.read(path))

    def read(self, path: str) -> bytes:
        """The whole file."""
        return bytes(self._node(path).data)

    def write_atomically(self, path: str, data: Buffer) -> None:
        """Replace the file's content."""
        node = _Node()
        node.data += data
        self._add(_normal(path), node)

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        path = _normal(path)
        return path in self._files or path in self._dirs

    def size(self, path: str) -> int:
        """A file's length in bytes."""
        return len(self._node(path).data)

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        names = self._dirs.get(_normal(path))
        if names is None:
            raise _missing(path)
        return sorted(names)

    def is_dir(self, path: str) -> bool:
        """Whether the name is a directory's."""
        return _normal(path) in self._dirs

    def mkdir(self, path: str) -> None:
        """Create a directory and its parents."""
        path = _normal(path)
        if path in self._dirs:
            return
        if path in self._files:
            raise OSError(errno.EEXIST, "a file has this name", path)
        parent, _, name = path.rpartition("/")
        self.mkdir(parent)
        self._dirs[path] = {}
        self._dirs[parent][name] = True

    def rename(self, source: str, target: str) -> None:
        """Rename a file or a directory with all it holds."""
        source, target = _normal(source), _normal(target)
        if source in self._dirs:
            self._rename_dir(source, target)
            return
        node = self._node(source)
        self._add(target, node)
        if source != target:
            self.remove(source)

    def remove(self, path: str) -> None:
        """Delete a file; open ones stay readable."""
        path = _normal(path)
        if self._files.pop(path, None) is not None:
            parent, _, name = path.rpartition("/")
            del self._dirs[parent][name]

    def remove_gradually(self, path: str) -> None:
        """As `remove`."""
        self.remove(path)

    def remove_tree(self, path: str) -> None:
        """Delete a directory with all it holds."""
        path = _normal(path)
        names = self._dirs.get(path)
        if names is None:
            return
        for name, is_dir in list(names.items()):
            child = f"{path}/{name}"
            if is_dir:
                self.remove_tree(child)
            else:
                self.remove(child)
        del self._dirs[path]
        parent, _, name = path.rpartition("/")
        del self._dirs[parent][name]

    def sync_dir(self, path: str) -> None:
        """Nothing to do but to see that it is there."""
        if _normal(path) not in self._dirs:
            raise _missing(path)

    def usable_bytes(self, path: str) -> tuple[int, int]:  # noqa: ARG002 - the port has it
        """(-1, -1): there is no volume."""
        return -1, -1

    def _node(self, path: str) -> _Node:
        node = self._files.get(_normal(path))
        if node is None:
            raise _missing(path)
        return node

    def _add(self, path: str, node: _Node) -> None:
        parent, _, name = path.rpartition("/")
        names = self._dirs.get(parent)
        if names is None:
            raise _missing(parent)
        if path in self._dirs:
            raise OSError(errno.EISDIR, "a directory has this name", path)
        self._files[path] = node
        names[name] = False

    def _rename_dir(self, source: str, target: str) -> None:
        if target in self._dirs or target in self._files:
            raise OSError(errno.ENOTEMPTY, "the name is taken", target)
        parent, _, name = target.rpartition("/")
        if parent not in self._dirs:
            raise _missing(parent)
        if target.startswith(source + "/"):
            raise OSError(errno.EINVAL, "a directory does not go into itself", target)
        self._move_dir(source, target)
        self._dirs[parent][name] = True
        parent, _, name = source.rpartition("/")
        del self._dirs[parent][name]

    def _move_dir(self, source: str, target: str) -> None:
        names = self._dirs[target] = self._dirs.pop(source)
        for name, is_dir in names.items():
            old, new = f"{source}/{name}", f"{target}/{name}"
            if is_dir:
                self._move_dir(old, new)
            else:
                self._files[new] = self._files.pop(old)


def _normal(path: str) -> str:
    """One name per file: no empty and no '.' parts, and everything below the root, which is ''."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/" + "/".join(parts) if parts else ""


def _missing(path: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, "no such file or directory", path)
