"""The plugin that `vobs run --instrument` loads into vLLM's processes.

vLLM loads it as a plugin of the group vllm.general_plugins (vllm/plugins/__init__.py)
in its front-end, its engine cores and its workers. It reports what the metrics do not
contain:

- the engine core's configuration after the core's own changes;
- the peaks of torch's allocator in each worker, and the attention backend it chose.

With VOBS_INSTRUMENT_STATS=1 it also switches on the statistics that LLM() leaves off.
Each process writes its report into a file of its own in the folder VOBS_INSTRUMENT_DIR,
atomically, by renaming.

It must never end, slow down or change the run. So it prints nothing, imports only the
standard library, never starts CUDA, and swallows its own errors; errors of vLLM pass
through unchanged. It uses private names of vLLM, which other versions may lack: each is
looked up, and a missing one is reported. The names are those of vLLM 0.32.0; others are
marked with the versions that have them.

Python 3.10 to 3.13.
"""

from __future__ import annotations

import atexit
import enum
import functools
import json
import math
import os
import sys
import threading
import time

FORMAT = 1
DIRECTORY = "VOBS_INSTRUMENT_DIR"
STATS = "VOBS_INSTRUMENT_STATS"

# Seconds between two readings of torch's allocator, and so between two writes of a file.
PERIOD = 1.0
# Seconds that a process waits at its end for the last reading.
FINAL_READING_TIMEOUT = 0.2
# Longest text in a report, in characters.
MAX_TEXT = 4096
# Largest number of engine cores, data-parallel sizes and backends in a report.
MAX_ITEMS = 16

# The fields of VllmConfig that are reported (vllm/config/*.py), in the form that
# /server_info has. data_parallel_size is not among them: vLLM sets it to 1 in the engine
# core of a dense model (vllm/v1/engine/core.py, run_engine_core), so the front-end reports
# it. Nothing else is read, because a configuration also has secrets.
CONFIG = {
    "model_config": ("model", "served_model_name", "dtype", "quantization", "max_model_len", "enforce_eager"),
    "load_config": ("load_format",),
    "attention_config": ("backend",),
    "parallel_config": ("tensor_parallel_size", "pipeline_parallel_size", "enable_expert_parallel"),
    "scheduler_config": (
        "max_num_seqs",
        "max_num_batched_tokens",
        "max_num_scheduled_tokens",
        "chunked_prefill_enabled",  # up to 0.11, the effective one
        "enable_chunked_prefill",
        "policy",
        "async_scheduling",
    ),
    "cache_config": (
        "enable_prefix_caching",
        "prefix_caching_hash_algo",
        "cache_dtype",
        "block_size",
        "num_gpu_blocks",
        "kv_cache_size_tokens",
        "kv_cache_memory_bytes",
        "gpu_memory_utilization",
    ),
    "speculative_config": ("method", "num_speculative_tokens"),
}

# The limits that the scheduler applies, whatever the configuration has
# (vllm/v1/core/sched/scheduler.py, kv_cache_manager.py, block_pool.py).
LIVE = {
    "max_num_running_reqs": ("max_num_running_reqs",),
    "max_num_scheduled_tokens": ("max_num_scheduled_tokens",),
    "max_model_len": ("max_model_len",),
    "enable_caching": ("kv_cache_manager", "enable_caching"),
    "num_gpu_blocks": ("kv_cache_manager", "block_pool", "num_gpu_blocks"),
}

MARK = "__vobs_instrument__"


class Report:
    """The report of one process. A forked child starts a new one."""

    def __init__(self, directory, hooks):
        self.pid = os.getpid()
        self.directory = directory
        # The time keeps apart two processes that had the same process ID.
        self.name = f"process-{self.pid}-{time.time_ns()}.json"
        self.lock = threading.RLock()
        self.hooks = hooks
        self.stats_forced = 0
        self.data_parallel_sizes = []
        self.cores = {}
        self.worker = None
        self.peak_reader = None

    def document(self):
        return {
            "format": FORMAT,
            "pid": self.pid,
            "ppid": os.getppid(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "vllm": scalar(getattr(sys.modules.get("vllm"), "__version__", None)),
            "hooks": [{"name": name, "state": state, "error": error} for name, (state, error) in self.hooks.items()],
            "stats_forced": self.stats_forced,
            "data_parallel_sizes": self.data_parallel_sizes,
            "cores": list(self.cores.values()),
            "worker": self.worker,
        }

    def write(self):
        """Replaces the file. Raises OSError if that fails."""
        with self.lock:
            temporary = os.path.join(self.directory, f".{self.name}.tmp")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                with open(descriptor, "w", encoding="ascii") as f:
                    f.write(json.dumps(self.document()))
                os.replace(temporary, os.path.join(self.directory, self.name))
            except BaseException:
                os.unlink(temporary)
                raise

    def hook(self, name, state, error=None):
        """Sets the state of a hook. "found" can only become "failed", and "failed" stays."""
        with self.lock:
            before = self.hooks.get(name, ("waiting", None))
            if before[0] == "failed" or (before[0] == "found" and state != "failed"):
                return
            self.hooks[name] = (state, error)


_report = None


def current_report():
    """Returns this process's Report, which is a new one in a forked child."""
    global _report
    if _report.pid != os.getpid():
        _report = Report(_report.directory, dict(_report.hooks))
    return _report


def guarded(hook, action, *arguments):
    """Runs a part of the plugin; records its failure for the hook and returns None then.
    KeyboardInterrupt and SystemExit pass, because signal handlers raise them."""
    try:
        return action(*arguments)
    except Exception as error:
        try:
            current_report().hook(hook, "failed", clip(f"{type(error).__name__}: {error}"))
            current_report().write()
        except Exception:
            pass  # the error cannot be reported
    return None


def write():
    current_report().write()


def clip(text):
    return text.encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT]


def scalar(value):
    """Converts a value to a JSON scalar, or to None if it is not one."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return clip(str(value))
    if type(value).__name__ == "dtype":  # torch's
        return clip(str(value))
    return None


def read_config(vllm_config):
    """Returns the fields of CONFIG by section; a section that is None stays None."""
    out = {}
    for section, fields in CONFIG.items():
        if not hasattr(vllm_config, section):
            continue
        holder = getattr(vllm_config, section)
        if holder is None:
            out[section] = None
            continue
        values = {}
        for field in fields:
            try:
                value = getattr(holder, field)
            except Exception:
                continue  # this version lacks the field, or reading it fails
            if value is None or scalar(value) is not None:
                values[field] = scalar(value)
        out[section] = values
    return out


def read_live(scheduler):
    """Returns the limits of LIVE, and the attributes that the scheduler lacks."""
    out, missing = {}, []
    for name, path in LIVE.items():
        value = scheduler
        for part in path:
            value = getattr(value, part, None)
            if value is None:
                break
        if isinstance(value, (bool, int)):
            out[name] = scalar(value)
        else:
            missing.append("scheduler." + ".".join(path))
    return out, missing


def index_of(core):
    """Returns the engine's data-parallel rank."""
    parallel = core.vllm_config.parallel_config
    for holder, name in ((core, "engine_index"), (parallel, "data_parallel_index"), (parallel, "data_parallel_rank")):
        value = getattr(holder, name, None)
        if isinstance(value, int):
            return int(value)
    return 0


def report_core(core, phase):
    r = current_report()
    entry = {
        "class": type(core).__name__,
        "index": index_of(core),
        "phase": phase,
        "config": read_config(core.vllm_config),
        "live": {},
        "missing": [],
    }
    if phase == "ready":
        entry["live"], entry["missing"] = read_live(core.scheduler)
    with r.lock:
        if id(core) in r.cores or len(r.cores) < MAX_ITEMS:
            r.cores[id(core)] = entry
        r.write()


def self_of(arguments, keywords):
    """Returns the object that a method was called on."""
    return arguments[0] if arguments else keywords["self"]


def before_engine_config(hook, arguments, keywords):
    if os.environ.get(STATS) != "1":
        return
    engine_args = self_of(arguments, keywords)
    if not hasattr(engine_args, "disable_log_stats"):
        current_report().hook("EngineArgs.disable_log_stats", "missing", "no such attribute")
        return
    if engine_args.disable_log_stats:
        engine_args.disable_log_stats = False
        current_report().stats_forced += 1


def after_engine_config(hook, arguments, keywords, vllm_config):
    r = current_report()
    size = getattr(getattr(vllm_config, "parallel_config", None), "data_parallel_size", None)
    with r.lock:
        if isinstance(size, int) and size not in r.data_parallel_sizes and len(r.data_parallel_sizes) < MAX_ITEMS:
            r.data_parallel_sizes.append(int(size))
        r.write()


def after_kv_caches(hook, arguments, keywords, result):
    report_core(self_of(arguments, keywords), "kv_caches")


def after_core_init(hook, arguments, keywords, result):
    report_core(self_of(arguments, keywords), "ready")


def before_busy_loop(hook, arguments, keywords):
    report_core(self_of(arguments, keywords), "ready")


def wrapper_and_worker(arguments, keywords):
    """Returns a WorkerWrapperBase and its worker, or None. The wrapper's __getattr__
    delegates to the worker, so it is bypassed in case there is none."""
    wrapper = self_of(arguments, keywords)
    return wrapper, vars(wrapper).get("worker")


def rank_of(wrapper, worker):
    for holder, name in ((worker, "rank"), (wrapper, "global_rank"), (wrapper, "rpc_rank")):
        value = getattr(holder, "__dict__", {}).get(name)
        if isinstance(value, int):
            return int(value)
    return None


def worker_entry(r, wrapper, worker):
    if r.worker is None:
        r.worker = {
            "rank": rank_of(wrapper, worker),
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "cuda": None,
            "devices": [],
            "attention_backends": [],
        }
    return r.worker


def after_init_device(hook, arguments, keywords, result):
    r = current_report()
    wrapper, worker = wrapper_and_worker(arguments, keywords)
    with r.lock:
        entry = worker_entry(r, wrapper, worker)
        torch = sys.modules.get("torch")
        version = getattr(torch, "version", None)
        built = getattr(version, "cuda", None) or getattr(version, "hip", None)
        entry["cuda"] = "not initialized" if built else "not built"
        if built:
            index = getattr(getattr(worker, "device", None), "index", None)
            reader = r.peak_reader or PeakReader(hook, r, torch.cuda)
            if isinstance(index, int):
                reader.devices.add(index)
            guarded(hook, reader.read)
            if r.peak_reader is None:
                r.peak_reader = reader
                reader.begin()
        r.write()


def after_initialize_from_config(hook, arguments, keywords, result):
    r = current_report()
    wrapper, worker = wrapper_and_worker(arguments, keywords)
    groups = getattr(getattr(worker, "model_runner", None), "attn_groups", None)
    backends = set()
    for groups_of_cache in groups or ():
        for group in groups_of_cache:
            backend = group.backend  # a class (vllm/v1/attention/backend.py)
            backends.add(clip(f"{backend.__module__}.{backend.__qualname__}"))
    with r.lock:
        worker_entry(r, wrapper, worker)["attention_backends"] = sorted(backends)[:MAX_ITEMS]
        r.write()


class PeakReader(threading.Thread):
    """Reads the peaks of torch's allocator every PERIOD, because vLLM kills its workers and
    a killed worker cannot report at its end. It keeps the highest reading of each, because
    vLLM resets torch's peaks after it has profiled the model."""

    def __init__(self, hook, r, cuda):
        super().__init__(name="vobs", daemon=True)
        self.hook = hook
        self.report = r
        self.cuda = cuda
        self.devices = set()  # empty: all that torch sees
        self.peaks = {}
        self.uuids = {}
        self.ending = threading.Event()

    def begin(self):
        self.start()
        # A forked child of multiprocessing does not run atexit's functions, only Finalize's.
        atexit.register(self.finish)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.finish, exitpriority=100)

    def finish(self):
        """Makes the thread read once more. The wait is short, because a thread that hangs
        in the driver must not keep the process alive."""
        if os.getpid() != self.report.pid or not self.is_alive():
            return
        self.ending.set()
        try:
            self.join(FINAL_READING_TIMEOUT)
        except RuntimeError:
            pass

    def run(self):
        failed = False
        while not failed:
            ended = self.ending.wait(PERIOD)
            failed = guarded(self.hook, self.read_and_write) is None
            if ended:
                return

    def read_and_write(self):
        if self.read():
            self.report.write()
        return True

    def read(self):
        """Reads the peaks and returns whether one has risen. Never starts CUDA."""
        if not self.cuda.is_initialized():
            return False
        new = False
        for index in sorted(self.devices) or range(self.cuda.device_count()):
            before = self.peaks.get(index, (0, 0))
            peak = tuple(map(max, self.peaks_of(index), before))
            if peak != before:
                self.peaks[index] = peak
                new = True
        if new:
            with self.report.lock:
                self.report.worker["cuda"] = "initialized"
                self.report.worker["devices"] = [
                    {"index": index, "uuid": self.uuid(index), "max_allocated_bytes": a, "max_reserved_bytes": r}
                    for index, (a, r) in sorted(self.peaks.items())
                ]
        return new

    def peaks_of(self, index):
        """Returns the peaks of allocated and reserved bytes. It reads what
        torch.cuda.max_memory_allocated and max_memory_reserved read (torch/cuda/memory.py);
        those also sort a hundred other statistics, which takes 0.2 ms each."""
        nested = getattr(self.cuda, "memory_stats_as_nested_dict", None)
        try:
            stats = nested(index)
            return tuple(int(stats[name]["all"]["peak"]) for name in ("allocated_bytes", "reserved_bytes"))
        except (KeyError, TypeError):
            return int(self.cuda.max_memory_allocated(index)), int(self.cuda.max_memory_reserved(index))

    def uuid(self, index):
        """Returns the device's UUID, or None if torch does not have it (before 2.5)."""
        if index not in self.uuids:
            value = getattr(self.cuda.get_device_properties(index), "uuid", None)
            self.uuids[index] = None if value is None else clip(str(value))
        return self.uuids[index]


# Each hook: the modules that may define the class; the class; whether to wrap the method in
# subclasses that override it, too; the method; what to call before and after it.
HOOKS = (
    (("vllm.engine.arg_utils",), "EngineArgs", False, "create_engine_config", before_engine_config, after_engine_config),
    (("vllm.v1.engine.core",), "EngineCore", False, "__init__", None, after_core_init),
    (("vllm.v1.engine.core",), "EngineCore", False, "_initialize_kv_caches", None, after_kv_caches),
    (("vllm.v1.engine.core",), "EngineCoreProc", True, "run_busy_loop", before_busy_loop, None),
    # Up to 0.10 in vllm.worker.
    (
        ("vllm.v1.worker.worker_base", "vllm.worker.worker_base"),
        "WorkerWrapperBase",
        False,
        "init_device",
        None,
        after_init_device,
    ),
    (
        ("vllm.v1.worker.worker_base", "vllm.worker.worker_base"),
        "WorkerWrapperBase",
        False,
        "initialize_from_config",
        None,
        after_initialize_from_config,
    ),
)


def wrap(cls, method, hook, before, after):
    original = cls.__dict__[method]
    if getattr(original, MARK, False):
        return
    if not callable(original) or isinstance(original, (staticmethod, classmethod, type)):
        raise TypeError(f"{cls.__name__}.{method} is not an ordinary method")

    @functools.wraps(original)
    def wrapper(*arguments, **keywords):
        if before is not None:
            guarded(hook, before, hook, arguments, keywords)
        result = original(*arguments, **keywords)
        if after is not None:
            guarded(hook, after, hook, arguments, keywords, result)
        return result

    setattr(wrapper, MARK, True)
    setattr(cls, method, wrapper)


def with_subclasses(cls):
    out = [cls]
    for sub in cls.__subclasses__():
        out += with_subclasses(sub)
    return out


def attach(module, hook, class_name, subclasses, method, before, after):
    cls = vars(module).get(class_name)
    if not isinstance(cls, type):
        current_report().hook(hook, "missing", f"{module.__name__} has no {class_name}")
        return
    found = False
    for candidate in with_subclasses(cls) if subclasses else [cls]:
        if method in candidate.__dict__:
            wrap(candidate, method, hook, before, after)
            found = True
    if found:
        current_report().hook(hook, "found")
    else:
        current_report().hook(hook, "missing", f"{module.__name__}.{class_name} has no {method}")


def attach_all(module):
    for modules, class_name, subclasses, method, before, after in HOOKS:
        if module.__name__ in modules:
            hook = f"{class_name}.{method}"
            guarded(hook, attach, module, hook, class_name, subclasses, method, before, after)


class Finder:
    """The first finder in sys.meta_path: wraps the methods of modules that are imported later."""

    def __init__(self, names):
        self.waiting = set(names)

    def find_spec(self, name, path=None, target=None):
        if name not in self.waiting:
            return None
        self.waiting.discard(name)  # another finder may import the module itself
        try:
            for finder in list(sys.meta_path):
                find = getattr(finder, "find_spec", None)
                if finder is self or find is None:
                    continue
                spec = find(name, path, target)
                if spec is not None:
                    self.wrap_loader(name, spec.loader)
                    return spec
        except Exception:
            pass  # the import system calls the failing finder next, which raises again
        self.waiting.add(name)
        return None

    def wrap_loader(self, name, loader):
        execute = loader.exec_module

        @functools.wraps(execute)
        def exec_module(module):
            try:
                del loader.exec_module
            except AttributeError:
                pass
            try:
                execute(module)
            except BaseException:
                self.waiting.add(name)  # the import may be tried again
                raise
            attach_all(module)
            guarded("report", write)

        loader.exec_module = exec_module


def start(directory):
    global _report
    _report = Report(directory, {})
    for _, class_name, _, method, _, _ in HOOKS:
        _report.hooks[f"{class_name}.{method}"] = ("waiting", None)
    names = list(dict.fromkeys(name for hook in HOOKS for name in hook[0]))
    later = []
    for name in names:
        module = sys.modules.get(name)
        if module is None:
            later.append(name)
        else:
            attach_all(module)
    if later:
        sys.meta_path.insert(0, Finder(later))
    _report.write()


def load():
    """The plugin's entry point. vLLM calls it in each of its processes and may call it
    again; a forked child has inherited everything."""
    try:
        directory = os.environ.get(DIRECTORY)
        if directory and _report is None:
            start(directory)
    except Exception:
        pass  # without a folder to write to, nothing can be reported
