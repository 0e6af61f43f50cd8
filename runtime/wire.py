"""Pickled messages and file descriptors over a stream socket."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("<Q")


class ClosedStream(Exception):
    """The other end is gone."""


class Stream:
    """One end of a connection; each message arrives whole."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def fileno(self) -> int:
        """Give the file descriptor, for selectors."""
        return self._socket.fileno()

    def send(self, message: Any) -> None:
        """Send a message.  Raises ClosedStream."""
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        except OSError:
            raise ClosedStream from None

    def receive(self) -> Any:
        """Wait for a message and give it.  Raises ClosedStream."""
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        return pickle.loads(self._exactly(length))

    def send_fds(self, fds: list[int]) -> None:
        """Send copies of file descriptors."""
        socket.send_fds(self._socket, [b"f"], fds)

    def receive_fds(self, count: int) -> list[int]:
        """Wait for `count` file descriptors and give them."""
        data, fds, _, _ = socket.recv_fds(self._socket, 1, count)
        if not data or len(fds) != count:
            raise ClosedStream
        return list(fds)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            try:
                part = self._socket.recv(min(size - len(parts), 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise ClosedStream
            parts += part
        return bytes(parts)
