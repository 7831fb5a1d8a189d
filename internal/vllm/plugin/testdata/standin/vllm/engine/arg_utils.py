from vllm import config


class EngineArgs:
    """The default of disable_log_stats is that of LLM()."""

    def __init__(self, disable_log_stats=True, **changes):
        self.disable_log_stats = disable_log_stats
        self.changes = changes
        from vllm.plugins import load_general_plugins

        load_general_plugins()

    def create_engine_config(self, usage_context=None, headless=False):
        """Create the VllmConfig."""
        if usage_context == "fail":
            raise ValueError("the engine's own")
        return config.make(**self.changes)
