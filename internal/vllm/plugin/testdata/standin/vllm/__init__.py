"""A stand-in for vLLM 0.32.0: the names that the plugin of `vobs run --instrument`
wraps, and just enough around them for an engine to start, run and end."""

__version__ = "0.32.0+standin"
