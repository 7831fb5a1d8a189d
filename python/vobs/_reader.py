"""Reads files of events.

A file holds one JSON document, indented or not, or several, each beginning on a line of its
own (JSON lines). A document is a full event, the eight keys of the core alone, or a log record
that carries the core; log records of other kinds are skipped. This is what ``vobs validate``
reads too.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from vobs.models import Core, GenerationObservability

if TYPE_CHECKING:
    import pandas

Event = GenerationObservability | Core
Source = str | os.PathLike[str] | IO[bytes] | IO[str]
OnError = Literal["raise", "warn", "skip"]

SCHEMA_VERSION = 1
# Of these a document has at least one: the keys of the core, and those of a full event alone.
CORE_KEYS = frozenset(Core.model_fields)


class Damaged(ValueError):
    """A document that is not an event: where it begins, and what is wrong with it."""

    def __init__(self, name: str, line: int, reason: str) -> None:
        super().__init__(f"{name}, line {line}: {reason}")
        self.name = name
        self.line = line
        self.reason = reason


class DamagedWarning(UserWarning):
    """A document was skipped, because it is not an event."""


E = TypeVar("E", bound=Event)


class Events(list[E]):
    """A list of events."""

    def full(self) -> Events[GenerationObservability]:
        """Return the events without those that hold the eight keys of the core alone."""
        return Events(e for e in self if isinstance(e, GenerationObservability))

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas data frame with a row for each event: see :func:`vobs.frame`."""
        from vobs._frame import frame

        return frame(self)


def read(source: Source, *, on_error: OnError = "raise") -> Events[Event]:
    """Read all events of a file.

    ``source`` is a path, ``-`` for stdin, or an open file; gzip is recognized by its content.
    ``on_error`` decides about documents that are not events, such as a line that was cut off:
    ``raise`` raises :class:`Damaged`, ``warn`` skips them with a :class:`DamagedWarning`, ``skip``
    skips them silently.

    The events are :class:`GenerationObservability`, or :class:`Core` for documents that hold the
    eight keys of the core alone, which :meth:`Events.full` leaves out.
    """
    return Events(_iterate(source, on_error, stacklevel=3))


def iter_events(source: Source, *, on_error: OnError = "raise") -> Iterator[Event]:
    """Yield the events of a file as :func:`read` does, with one at a time in memory."""
    return _iterate(source, on_error, stacklevel=2)


def _iterate(source: Source, on_error: OnError, stacklevel: int) -> Iterator[Event]:
    if on_error not in ("raise", "warn", "skip"):
        raise ValueError(f"on_error={on_error!r}: use 'raise', 'warn' or 'skip'")
    with _open(source) as (file, name):
        for line, text, error in _documents(_lines(file)):
            try:
                if error:
                    raise _NotAnEvent(error)
                event = _parse(text)
            except _NotAnEvent as e:
                damaged = Damaged(name, line, str(e))
                if on_error == "raise":
                    raise damaged from None
                if on_error == "warn":
                    warnings.warn(f"skipped {damaged}", DamagedWarning, stacklevel=stacklevel)
                continue
            if event is not None:
                yield event


def core(event: Event) -> Core:
    """Return the eight keys of the core, which consumers accept that forbid all others."""
    if isinstance(event, Core):
        return event
    keys = event.model_dump(include=set(CORE_KEYS), exclude={"engine_runtime_config"})
    settings = event.engine_runtime_config.model_dump(exclude_unset=True)
    return Core(engine_runtime_config=settings, **keys)


class _NotAnEvent(Exception):
    """Why a document is not an event."""


@contextmanager
def _open(source: Source) -> Iterator[tuple[IO[bytes], str]]:
    """Open a source: its bytes, decompressed, and its name."""
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        if name == "-":
            yield _decompress(sys.stdin.buffer), "stdin"
            return
        with open(name, "rb") as file:
            yield _decompress(file), name
        return
    if not hasattr(source, "read"):
        raise TypeError(f"source: a path, '-' or an open file is needed, not {type(source).__name__}")
    name = str(getattr(source, "name", "the file"))
    if isinstance(source, io.TextIOBase):
        yield _Encoded(source), name
        return
    yield _decompress(source), name


class _Encoded(io.RawIOBase):
    """The lines of a text file as bytes."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._text.readline().encode("utf-8", "surrogatepass")


def _decompress(file: IO[bytes]) -> IO[bytes]:
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)  # type: ignore[arg-type]
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=buffered)  # type: ignore[return-value]
    return buffered  # type: ignore[return-value]


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes, str]]:
    """Yield the lines of a file, each with "", or with the reason why the file ends there."""
    while True:
        try:
            line = file.readline()
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            yield b"", f"the compressed data is damaged: {e}"
            return
        if not line:
            return
        yield line, ""


def _documents(lines: Iterable[tuple[bytes, str]]) -> Iterator[tuple[int, bytes, str]]:
    """Cut lines into documents: the number of the first line, the text, and an error or "".

    A document is one line, or goes on, indented, up to a line that begins with a brace.
    """
    first, pending = 0, b""
    number = 0
    for number, (line, error) in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if error:
            yield (first or number), pending, error
            return
        if pending:
            if not line.startswith(b"{"):
                pending += line
                if line.startswith(b"}") and _is_json(pending):
                    yield first, pending, ""
                    first, pending = 0, b""
                continue
            yield first, pending, ""  # cut off: the next document begins here
            first, pending = 0, b""
        if not line.strip():
            continue
        if line.rstrip() == b"{" or (line.startswith(b"{") and _goes_on(line)):
            first, pending = number, line
            continue
        yield number, line, ""
    if pending:
        yield first, pending, ""


def _goes_on(line: bytes) -> bool:
    """Report whether a line that begins a document may go on in the next one."""
    return not line.rstrip().endswith(b"}") and not _is_json(line)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _parse(text: bytes) -> Event | None:
    """Return the event in a document, or None for a log record of another kind."""
    try:
        doc = json.loads(text.rstrip(), parse_constant=_no_constant)
    except UnicodeDecodeError as e:
        raise _NotAnEvent(f"not UTF-8: {e.reason}") from None
    except json.JSONDecodeError as e:
        raise _NotAnEvent(f"not JSON, or cut off: {e.msg.removesuffix(' at')} (character {e.pos + 1})") from None
    except (ValueError, RecursionError) as e:
        raise _NotAnEvent(f"not JSON: {e}") from None
    if not isinstance(doc, dict):
        raise _NotAnEvent(f"expected an object, not {type(doc).__name__}")
    if "schema_version" in doc or "run" in doc:
        version = doc.get("schema_version")
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise _NotAnEvent(
                f"schema_version {version} was written by a newer vobs; this one reads up to "
                f"{SCHEMA_VERSION}: pip install -U vobs"
            )
        return _validate(GenerationObservability, text)
    if "message" in doc or "ctx" in doc:
        return _log_record(doc)
    if CORE_KEYS.isdisjoint(doc):
        raise _NotAnEvent(f"not an event: no key of an event among {_some(doc)}")
    return _validate(Core, text)


def _log_record(doc: dict[str, Any]) -> Event | None:
    """Return the core in a log record of NeMo Safe Synthesizer, in ctx or extra.ctx."""
    ctx = doc.get("ctx")
    extra = doc.get("extra")
    if ctx is None and isinstance(extra, dict):
        ctx = extra.get("ctx")
    if not isinstance(ctx, dict) or CORE_KEYS.isdisjoint(ctx):
        return None
    return _validate(Core, json.dumps(ctx).encode())


def _some(keys: Iterable[str]) -> str:
    names = [repr(k) for k in keys]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "") if names else "none at all"


def _validate(model: Any, text: bytes) -> Any:
    """Return the model of a document, whose types must be those of the schema."""
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as e:
        problem = e.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(step) for step in problem["loc"])
        more = e.error_count() - 1
        raise _NotAnEvent(f"{path}: {problem['msg'].lower()}" + (f" (and {more} more)" if more else "")) from None
