"""``python -m vobs`` is the ``vobs`` command of the same environment."""

import os
import sys
import sysconfig


def find() -> str:
    """Return the path of the binary that the wheel has installed."""
    looked = []
    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        path = os.path.join(sysconfig.get_path("scripts", scheme), "vobs")
        if os.access(path, os.X_OK):
            return path
        looked.append(path)
    raise SystemExit(f"vobs: error: there is no binary at {' or '.join(looked)}: install vobs from a wheel")


if __name__ == "__main__":
    vobs = find()
    os.execv(vobs, [vobs, *sys.argv[1:]])
