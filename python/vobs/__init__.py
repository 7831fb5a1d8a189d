"""Read the events of ``vobs run``.

    >>> import vobs
    >>> events = vobs.read("events.jsonl")
    >>> events[0].run.duration_seconds
    >>> events.to_frame()  # with pandas

Nothing here needs the ``vobs`` binary. https://github.com/vobs/vobs has the documentation.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vobs import models
    from vobs._frame import frame
    from vobs._reader import Damaged, DamagedWarning, Event, Events, core, iter_events, read
    from vobs.models import Core, GenerationObservability

try:
    from vobs._version import __version__
except ImportError:  # a source tree: the wheel has the file
    __version__ = "0"

__all__ = [
    "Core",
    "Damaged",
    "DamagedWarning",
    "Event",
    "Events",
    "GenerationObservability",
    "__version__",
    "core",
    "frame",
    "iter_events",
    "models",
    "read",
]


def _load(name: str) -> Any:
    # At the first use, because ``python -m vobs`` needs no pydantic.
    if name not in __all__:
        raise AttributeError(f"module 'vobs' has no attribute {name!r}")
    try:
        from vobs import _frame, _reader, models
    except ModuleNotFoundError as e:
        if e.name != "pydantic":
            raise
        raise ImportError(_PYDANTIC) from None
    except (AttributeError, ImportError) as e:  # pydantic 1 has other names
        import pydantic

        if pydantic.VERSION.startswith("2."):
            raise
        raise ImportError(f"{_PYDANTIC} (here is {pydantic.VERSION})") from e
    globals().update({n: getattr(_reader, n, None) or getattr(_frame, n, None) for n in __all__ if n not in globals()})
    globals()["models"] = models
    return globals()[name]


_PYDANTIC = "reading events needs pydantic: pip install 'pydantic>=2.7,<3'"

if not TYPE_CHECKING:  # which would otherwise take any name for an attribute
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted(__all__)
