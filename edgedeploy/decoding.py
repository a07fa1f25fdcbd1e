"""JSON and plain data as types, from any thread.

msgspec learns what a Struct consists of when it is first decoded, and runs Python for that; another thread that decodes the
same type meanwhile finds it half learned, and the process dies of a segmentation fault (msgspec 0.22: two in some thousand
pushes, on a busy machine). So types are learned one at a time here, and nothing else decodes.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")
_decoders: dict[object, msgspec.json.Decoder[Any]] = {}
_learning = threading.Lock()


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """A decoder of JSON into ``kind``, a type or a union of types; several threads may use it at once."""
    found = _decoders.get(kind)
    if found is None:
        with _learning:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found


@overload
def decode(content: bytes | str, kind: type[T]) -> T: ...


@overload
def decode(content: bytes | str, kind: Any) -> Any: ...


def decode(content: bytes | str, kind: Any) -> Any:
    """JSON as ``kind``.

    Raises:
        msgspec.DecodeError: it is none, or does not fit (ValidationError, which is a DecodeError).
    """
    return decoder(kind).decode(content)


@overload
def convert(data: object, kind: type[T]) -> T: ...


@overload
def convert(data: object, kind: Any) -> Any: ...


def convert(data: object, kind: Any) -> Any:
    """Plain data as ``kind``.

    Raises:
        msgspec.ValidationError: it does not fit.
    """
    decoder(kind)
    return msgspec.convert(data, kind)
