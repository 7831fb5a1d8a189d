"""A copy of vllm/plugins/__init__.py of 0.32.0 without its logging."""

import os

plugins_loaded = False
allowed = os.environ["VLLM_PLUGINS"].split(",") if "VLLM_PLUGINS" in os.environ else None


def load_general_plugins():
    global plugins_loaded
    if plugins_loaded:
        return
    plugins_loaded = True
    from importlib.metadata import entry_points

    functions = []
    for plugin in entry_points(group="vllm.general_plugins"):
        if allowed is None or plugin.name in allowed:
            functions.append(plugin.load())
    for function in functions:
        function()
