"""What `vobs run --instrument` puts into vLLM's processes.

vLLM loads it as a plugin of the group vllm.general_plugins (vllm/plugins/__init__.py)
in its front-end, its engine cores and its workers. There it notes what no page tells:

- the engine core's configuration after the core's own changes;
- the peaks of torch's allocator in each worker, and the attention backend it chose;

and, where VOBS_INSTRUMENT_STATS=1 asks for it, it switches on the statistics that
LLM() leaves off. Each process writes what it knows into one file of its own in the
folder VOBS_INSTRUMENT_DIR, whole, by renaming.

It is a guest: nothing of it may end, slow or change the run. So it prints nothing,
imports nothing but the standard library, starts CUDA never, and swallows every error
of its own; errors of vLLM pass through it unchanged. The names that it looks for are
private to vLLM and may be gone: each is looked up, and what is missing is told. The
names are those of vLLM 0.32.0; others are marked with the versions that have them.

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

# Seconds between two looks at torch's allocator, and so between two writings of a file.
PERIOD = 1.0
# Seconds that the end of a process waits for its last look.
LAST_LOOK = 0.2
# Longest text that is written down.
MAX_TEXT = 4096
# Most engine cores and errors of one process that are kept.
MAX_KEPT = 16

# The VllmConfig's fields that are told (vllm/config/*.py), in the form that /server_info
# has. Not data_parallel_size: a core of a dense model is made to believe that it is
# alone (vllm/v1/engine/core.py, run_engine_core); the front-end tells that one.
# Nothing else is read: a configuration has secrets too.
CONFIG = {
    "model_config": ("model", "served_model_name", "dtype", "quantization", "max_model_len", "enforce_eager"),
    "load_config": ("load_format",),
    "attention_config": ("backend",),
    "parallel_config": ("tensor_parallel_size", "pipeline_parallel_size", "enable_expert_parallel"),
    "scheduler_config": (
        "max_num_seqs",
        "max_num_batched_tokens",
        "max_num_scheduled_tokens",
        "chunked_prefill_enabled",  # up to 0.11, the one that counted
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

# What the scheduler goes by (vllm/v1/core/sched/scheduler.py, kv_cache_manager.py,
# block_pool.py), whatever the configuration says.
LIVE = {
    "max_num_running_reqs": ("max_num_running_reqs",),
    "max_num_scheduled_tokens": ("max_num_scheduled_tokens",),
    "max_model_len": ("max_model_len",),
    "enable_caching": ("kv_cache_manager", "enable_caching"),
    "num_gpu_blocks": ("kv_cache_manager", "block_pool", "num_gpu_blocks"),
}

MARK = "__vobs_instrument__"


class Report:
    """What one process tells. A fork's child gets a new one."""

    def __init__(self, directory, hooks):
        self.pid = os.getpid()
        self.directory = directory
        # Of a process id that was used twice, both keep their files.
        self.name = f"process-{self.pid}-{time.time_ns()}.json"
        self.lock = threading.RLock()
        self.hooks = hooks
        self.stats_forced = 0
        self.data_parallel_sizes = []
        self.cores = {}
        self.worker = None
        self.watch = None

    def document(self):
        return {
            "format": FORMAT,
            "pid": self.pid,
            "ppid": os.getppid(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "vllm": plain(getattr(sys.modules.get("vllm"), "__version__", None)),
            "hooks": [{"name": name, "state": state, "error": error} for name, (state, error) in self.hooks.items()],
            "stats_forced": self.stats_forced,
            "data_parallel_sizes": self.data_parallel_sizes,
            "cores": list(self.cores.values()),
            "worker": self.worker,
        }

    def write(self):
        """Writes the file anew. It raises OSError where that cannot be done."""
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
        """Notes what became of a hook. One that was found stays so, unless it fails."""
        with self.lock:
            before = self.hooks.get(name, ("waiting", None))
            if before[0] == "failed" or (before[0] == "found" and state != "failed"):
                return
            self.hooks[name] = (state, error)


_report = None


def report():
    """This process's Report; of a fork's child a new one."""
    global _report
    if _report.pid != os.getpid():
        _report = Report(_report.directory, dict(_report.hooks))
    return _report


def guarded(hook, action, *arguments):
    """Does something of our own: its failure is noted, and ends here. KeyboardInterrupt
    and SystemExit are not ours: a signal's handler has raised them."""
    try:
        return action(*arguments)
    except Exception as error:
        try:
            report().hook(hook, "failed", clip(f"{type(error).__name__}: {error}"))
            report().write()
        except Exception:
            pass  # nobody is left to tell
    return None


def write():
    report().write()


def clip(text):
    return text.encode("utf-8", "replace").decode("utf-8")[:MAX_TEXT]


def plain(value):
    """A value as JSON has it; None for what is none of its scalars."""
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


def config_of(vllm_config):
    out = {}
    for section, fields in CONFIG.items():
        if not hasattr(vllm_config, section):
            continue
        holder = getattr(vllm_config, section)
        if holder is None:
            out[section] = None
            continue
        told = {}
        for field in fields:
            try:
                value = getattr(holder, field)
            except Exception:
                continue  # this version has no such field, or one that cannot be read
            if value is None or plain(value) is not None:
                told[field] = plain(value)
        out[section] = told
    return out


def live_of(scheduler):
    """What the scheduler goes by, and the names that it does not have."""
    out, missing = {}, []
    for name, path in LIVE.items():
        value = scheduler
        for part in path:
            value = getattr(value, part, None)
            if value is None:
                break
        if isinstance(value, (bool, int)):
            out[name] = plain(value)
        else:
            missing.append("scheduler." + ".".join(path))
    return out, missing


def index_of(core):
    """The engine's data-parallel rank."""
    parallel = core.vllm_config.parallel_config
    for holder, name in ((core, "engine_index"), (parallel, "data_parallel_index"), (parallel, "data_parallel_rank")):
        value = getattr(holder, name, None)
        if isinstance(value, int):
            return int(value)
    return 0


def tell_core(core, phase):
    r = report()
    told = {
        "class": type(core).__name__,
        "index": index_of(core),
        "phase": phase,
        "config": config_of(core.vllm_config),
        "live": {},
        "missing": [],
    }
    if phase == "ready":
        told["live"], told["missing"] = live_of(core.scheduler)
    with r.lock:
        if id(core) in r.cores or len(r.cores) < MAX_KEPT:
            r.cores[id(core)] = told
        r.write()


def first_of(arguments, keywords):
    return arguments[0] if arguments else keywords["self"]


def before_engine_config(hook, arguments, keywords):
    if os.environ.get(STATS) != "1":
        return
    engine_args = first_of(arguments, keywords)
    if not hasattr(engine_args, "disable_log_stats"):
        report().hook("EngineArgs.disable_log_stats", "missing", "the arguments have no such field")
        return
    if engine_args.disable_log_stats:
        engine_args.disable_log_stats = False
        report().stats_forced += 1


def after_engine_config(hook, arguments, keywords, vllm_config):
    r = report()
    size = getattr(getattr(vllm_config, "parallel_config", None), "data_parallel_size", None)
    with r.lock:
        if isinstance(size, int) and size not in r.data_parallel_sizes and len(r.data_parallel_sizes) < MAX_KEPT:
            r.data_parallel_sizes.append(int(size))
        r.write()


def after_kv_caches(hook, arguments, keywords, result):
    tell_core(first_of(arguments, keywords), "kv_caches")


def after_core_init(hook, arguments, keywords, result):
    tell_core(first_of(arguments, keywords), "ready")


def before_busy_loop(hook, arguments, keywords):
    tell_core(first_of(arguments, keywords), "ready")


def worker_in(arguments, keywords):
    """The worker and its wrapper. The wrapper's own __getattr__ asks the worker: it is
    not to be asked for one that is not there."""
    wrapper = first_of(arguments, keywords)
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
    r = report()
    wrapper, worker = worker_in(arguments, keywords)
    with r.lock:
        entry = worker_entry(r, wrapper, worker)
        torch = sys.modules.get("torch")
        version = getattr(torch, "version", None)
        built = getattr(version, "cuda", None) or getattr(version, "hip", None)
        entry["cuda"] = "not initialized" if built else "not built"
        if built:
            index = getattr(getattr(worker, "device", None), "index", None)
            watch = r.watch or Watch(hook, r, torch.cuda)
            if isinstance(index, int):
                watch.devices.add(index)
            guarded(hook, watch.look)
            if r.watch is None:
                r.watch = watch
                watch.begin()
        r.write()


def after_initialize_from_config(hook, arguments, keywords, result):
    r = report()
    wrapper, worker = worker_in(arguments, keywords)
    groups = getattr(getattr(worker, "model_runner", None), "attn_groups", None)
    backends = set()
    for of_one_cache in groups or ():
        for group in of_one_cache:
            backend = group.backend  # a class (vllm/v1/attention/backend.py)
            backends.add(clip(f"{backend.__module__}.{backend.__qualname__}"))
    with r.lock:
        worker_entry(r, wrapper, worker)["attention_backends"] = sorted(backends)[:MAX_KEPT]
        r.write()


class Watch(threading.Thread):
    """Reads the peaks of torch's allocator from time to time: a worker that is killed
    tells nothing at its end, and vLLM kills them. The highest reading counts, for vLLM
    resets torch's peaks when it has profiled the model."""

    def __init__(self, hook, r, cuda):
        super().__init__(name="vobs", daemon=True)
        self.hook = hook
        self.report = r
        self.cuda = cuda
        self.devices = set()  # none: all that torch sees
        self.peaks = {}
        self.uuids = {}
        self.ending = threading.Event()

    def begin(self):
        self.start()
        # At an end that Python sees; of a fork's child, multiprocessing tells.
        atexit.register(self.finish)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.finish, exitpriority=100)

    def finish(self):
        """Has the thread look once more. It is not waited for long: a thread that hangs
        in the driver must not keep the process."""
        if os.getpid() != self.report.pid or not self.is_alive():
            return
        self.ending.set()
        try:
            self.join(LAST_LOOK)
        except RuntimeError:
            pass

    def run(self):
        failed = False
        while not failed:
            ended = self.ending.wait(PERIOD)
            failed = guarded(self.hook, self.look_and_write) is None
            if ended:
                return

    def look_and_write(self):
        if self.look():
            self.report.write()
        return True

    def look(self):
        """Reads the peaks, and says whether anything is new. CUDA is never started by it."""
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
        """torch.cuda.max_memory_allocated and max_memory_reserved, which read this
        (torch/cuda/memory.py) and sort a hundred figures beside it: 0.2 ms each."""
        nested = getattr(self.cuda, "memory_stats_as_nested_dict", None)
        try:
            stats = nested(index)
            return tuple(int(stats[name]["all"]["peak"]) for name in ("allocated_bytes", "reserved_bytes"))
        except (KeyError, TypeError):
            return int(self.cuda.max_memory_allocated(index)), int(self.cuda.max_memory_reserved(index))

    def uuid(self, index):
        """The device's UUID; None where torch does not tell it (before 2.5)."""
        if index not in self.uuids:
            value = getattr(self.cuda.get_device_properties(index), "uuid", None)
            self.uuids[index] = None if value is None else clip(str(value))
        return self.uuids[index]


# Each: the class's modules, of which the first that has it counts; the class; whether
# its subclasses' own definitions count too; the method; what is done before it and after.
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
        raise TypeError(f"{cls.__name__}.{method} is no plain method")

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
        report().hook(hook, "missing", f"{module.__name__} has no {class_name}")
        return
    found = False
    for candidate in with_subclasses(cls) if subclasses else [cls]:
        if method in candidate.__dict__:
            wrap(candidate, method, hook, before, after)
            found = True
    if found:
        report().hook(hook, "found")
    else:
        report().hook(hook, "missing", f"{module.__name__}.{class_name} has no {method}")


def attach_all(module):
    for modules, class_name, subclasses, method, before, after in HOOKS:
        if module.__name__ in modules:
            hook = f"{class_name}.{method}"
            guarded(hook, attach, module, hook, class_name, subclasses, method, before, after)


class Finder:
    """Stands before the finders of sys.meta_path: what is imported later is wrapped then."""

    def __init__(self, names):
        self.waiting = set(names)

    def find_spec(self, name, path=None, target=None):
        if name not in self.waiting:
            return None
        self.waiting.discard(name)  # the others may import it by another way
        try:
            for finder in list(sys.meta_path):
                find = getattr(finder, "find_spec", None)
                if finder is self or find is None:
                    continue
                spec = find(name, path, target)
                if spec is not None:
                    self.arm(name, spec.loader)
                    return spec
        except Exception:
            pass  # who asks next meets it again, and raises it
        self.waiting.add(name)
        return None

    def arm(self, name, loader):
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
                self.waiting.add(name)  # it may be tried again
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
    """The plugin's entry point. vLLM calls it in each of its processes, and may call it
    again; a fork's child has inherited all."""
    try:
        directory = os.environ.get(DIRECTORY)
        if directory and _report is None:
            start(directory)
    except Exception:
        pass  # without a folder to write to there is nobody to tell
