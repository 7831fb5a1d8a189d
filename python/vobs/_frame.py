"""Turns events into a pandas data frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from vobs._reader import Event

# Lists of their own, with one entry per reading, reason or finding: not columns.
LEFT_OUT = frozenset({"series", "unavailable"})
TIMES = ("run.started_at", "run.ended_at")


def frame(events: Iterable[Event]) -> pandas.DataFrame:
    """Return a pandas data frame with a row for each event and a column for each figure.

    A column is named by the figure's path, as in docs/event.md: ``engine.kv_cache.usage.peak``,
    ``gpus.0.peak_bytes``, ``run.labels.case``. Figures that are null in all events have a column
    too. Times are datetimes; ``validity`` holds the codes of the notes, and lists of texts or
    numbers stay lists. ``series`` and ``unavailable`` are left out.
    """
    try:
        import pandas
    except ImportError as e:
        raise ImportError("a data frame needs pandas: pip install 'pandas>=2'") from e
    rows = [_row(e) for e in events]
    columns: dict[str, None] = {}  # an ordered set
    for row in rows:
        columns.update(dict.fromkeys(row))
    # A group that is null in one event and an object in another has no column of its own.
    groups = {name[:i] for name in columns for i, c in enumerate(name) if c == "."}
    empty = {name for name in groups & columns.keys() if not any(row.get(name) for row in rows)}
    out = pandas.DataFrame(rows, columns=[c for c in columns if c not in empty])
    for name in TIMES:
        if name in out:
            out[name] = pandas.to_datetime(out[name], utc=True, format="ISO8601")
    return out


def _row(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in event.model_dump(mode="json", by_alias=True).items():
        if key == "validity":
            row[key] = [note["code"] for note in value]
        elif key not in LEFT_OUT:
            _flatten(key, value, row)
    return row


def _flatten(path: str, value: Any, row: dict[str, Any]) -> None:
    if isinstance(value, dict):
        for key, v in value.items():
            _flatten(f"{path}.{key}", v, row)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, v in enumerate(value):
            _flatten(f"{path}.{i}", v, row)
    else:
        row[path] = value
