"""A stand-in for vLLM 0.32.0: the names that the plugin of `vobs run --instrument`
hooks, and just enough behind them for an engine to start, run and end."""

__version__ = "0.32.0+standin"
