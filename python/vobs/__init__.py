"""Read the events of ``vobs run``.

    >>> import vobs
    >>> events = vobs.read("events.jsonl")
    >>> events[0].run.duration_seconds
    >>> events.to_frame()  # with pandas

Nothing here needs the ``vobs`` binary. https://github.com/vobs/vobs has the documentation.
"""

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
    "read",
]
