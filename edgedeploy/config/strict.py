"""The one way a TOML file becomes a type: strict, and every complaint names file and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from edgedeploy.decoding import convert
from edgedeploy.errors import ConfigError
from edgedeploy.suggest import did_you_mean

T = TypeVar("T")
_SECRET = "password"  # noqa: S105 - values of keys with this name are never shown
_QUOTED = 80  # characters of a wrong value that are shown
_PATH = re.compile(r" - at (?P<name>`key` in )?`\$(?P<path>.*)`$", re.DOTALL)
_TOKEN = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>.*)`$")


def read(path: Path, kind: type[T]) -> T:
    """Read a TOML file as ``kind``.

    Raises:
        ConfigError: the file is not there, is not TOML, or does not fit; ``where`` is ``file: key``.
    """
    return decode(parse(path), kind, file=str(path))


def parse(path: Path) -> dict[str, object]:
    """Read a TOML file as plain data.

    Raises:
        ConfigError: the file cannot be read, or is not TOML; with line and column.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(
            "no such file", where=str(path), next_step="check the path, or run `edgedeploy init` for a project"
        ) from None
    except OSError as error:
        raise ConfigError("cannot be read", where=str(path), seen=error.strerror or str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("not valid TOML", where=str(path), seen=str(error)) from None


def decode(data: object, kind: type[T], *, file: str) -> T:
    """Check plain data against ``kind``.

    Raises:
        ConfigError: with the key, the value seen, what is allowed, and the nearest allowed key for a misspelt one.
    """
    try:
        return convert(data, kind)
    except msgspec.ValidationError as error:
        raise _explain(error, data, kind, file=file, prefix="") from None


def _explain(error: msgspec.ValidationError, data: object, kind: object, *, file: str, prefix: str) -> ConfigError:
    """Turn msgspec's message into ours. msgspec writes ``[...]`` for the key of a mapping: each entry is tried to find it."""
    message = str(error)
    found = _PATH.search(message)
    text = message[: found.start()] if found else message
    value, here, key = data, kind, prefix
    for token in _TOKEN.finditer(found["path"] if found else ""):
        if token["field"] is not None and isinstance(value, dict):
            here = _field_type(here, token["field"])
            key = f"{key}.{token['field']}" if key else token["field"]
            value = value.get(token["field"])
        elif token["index"] is not None and isinstance(value, list):
            here = _item_type(here)
            key = f"{key}[{token['index']}]"
            value = value[int(token["index"])]
        elif isinstance(value, dict):
            return _explain_entry(error, value, here, file=file, prefix=key)
    if found and found["name"] and isinstance(value, dict):
        return _explain_entry(error, value, here, file=file, prefix=key)
    return _complaint(text, value, here, file=file, key=key)


def _explain_entry(
    error: msgspec.ValidationError, entries: dict[str, object], kind: object, *, file: str, prefix: str
) -> ConfigError:
    key_type, entry_type = _mapping_types(kind)
    for name, entry in entries.items():
        key = f"{prefix}.{name}" if prefix else name
        try:
            convert(name, key_type)
        except msgspec.ValidationError as failed:
            return _complaint(f"{failed} (in a name)", name, key_type, file=file, key=key)
        try:
            convert(entry, entry_type)
        except msgspec.ValidationError as failed:
            return _explain(failed, entry, entry_type, file=file, prefix=key)
    return ConfigError(str(error), where=f"{file}: {prefix}")


def _complaint(text: str, value: object, kind: object, *, file: str, key: str) -> ConfigError:
    unknown, missing = _UNKNOWN.match(text), _MISSING.match(text)
    if unknown:
        field = unknown["field"]
        return ConfigError(
            f"unknown key {field!r}",
            where=f"{file}: {key}.{field}" if key else f"{file}: {field}",
            next_step=did_you_mean(field, _field_names(kind)),
        )
    if missing:
        return ConfigError(
            f"the key {missing['field']!r} is missing",
            where=f"{file}: {key}" if key else file,
            next_step=f"add `{missing['field']} = …`",
        )
    where = f"{file}: {key}" if key else file
    if key.rpartition(".")[2] == _SECRET:
        return ConfigError(
            text.replace("`", "'"),
            where=where,
            next_step=f'write `{_SECRET} = "env:NAME"`, with the name of the environment variable that holds it',
        )
    return ConfigError(text.replace("`", "'"), where=where, seen=_short(_without_secrets(value)))


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {name: "…" if name == _SECRET else _without_secrets(entry) for name, entry in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 3]}…"


def _shape(kind: object) -> msgspec.inspect.Type:
    """The view msgspec has of a type, without constraints and without ``None``."""
    info = kind if isinstance(kind, msgspec.inspect.Type) else msgspec.inspect.type_info(kind)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    if isinstance(info, msgspec.inspect.UnionType):
        rest = [member for member in info.types if not isinstance(member, msgspec.inspect.NoneType)]
        return _shape(rest[0]) if len(rest) == 1 else info
    return info


def _fields(kind: object) -> tuple[msgspec.inspect.Field, ...]:
    info = _shape(kind)
    return info.fields if isinstance(info, msgspec.inspect.StructType) else ()


def _field_names(kind: object) -> tuple[str, ...]:
    return tuple(field.encode_name for field in _fields(kind))


def _annotation(kind: object, name: str) -> object:
    """The annotation of a struct's field: what :func:`msgspec.convert` takes."""
    info = _shape(kind)
    if not isinstance(info, msgspec.inspect.StructType):
        return object
    return msgspec.structs.fields(info.cls)[[f.encode_name for f in info.fields].index(name)].type


def _field_type(kind: object, name: str) -> object:
    return _annotation(kind, name) if name in _field_names(kind) else object


def _item_type(kind: object) -> object:
    info = _shape(kind)
    if isinstance(info, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        item = _shape(info.item_type)
        return item.cls if isinstance(item, msgspec.inspect.StructType) else object
    return object


def _mapping_types(kind: object) -> tuple[object, object]:
    arguments = list(getattr(kind, "__args__", ()))
    key, entry = arguments if len(arguments) == 2 else (str, object)  # noqa: PLR2004 - key and value
    return key, entry
