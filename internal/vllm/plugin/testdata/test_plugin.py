#!/usr/bin/env python3
"""Tests the plugin of `vobs run --instrument` against a stand-in for vLLM and torch.

    make test-plugin            under every Python from 3.10 to 3.13 that is found
    python3 test_plugin.py      under this one

Each case runs in a process of its own, like a process of vLLM, with the plugin on
PYTHONPATH. Standard library only.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PLUGIN = os.path.join(os.path.dirname(HERE), "plugin")
STANDIN = os.path.join(HERE, "standin")

# The beginning of the scripts: run() runs an engine core in a process of its own.
ENGINE = """
import multiprocessing, sys
from vllm.engine.arg_utils import EngineArgs
def run(method, index=0, **changes):
    args = EngineArgs(**changes)
    config = args.create_engine_config()
    from vllm.v1.engine.core import EngineCoreProc
    process = multiprocessing.get_context(method).Process(target=EngineCoreProc.run_engine_core, args=(config, index))
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode
    return args
if __name__ == "__main__":
    pass
"""


class Case(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="vobs-plugin-")
        self.addCleanup(shutil.rmtree, self.root)
        self.out = os.path.join(self.root, "out")
        self.work = os.path.join(self.root, "work")
        self.standin = os.path.join(self.root, "standin")
        for folder in (self.out, self.work):
            os.mkdir(folder)
        shutil.copytree(STANDIN, self.standin, ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, path, old, new):
        """Changes a file of the stand-in, as another version of vLLM might."""
        path = os.path.join(self.standin, path)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.assertIn(old, text)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))

    def run_python(self, script, **variables):
        path = os.path.join(self.work, "script.py")
        with open(path, "w", encoding="utf-8") as f:
            f.write(script)
        # Python must not write files, because python() looks for unexpected ones.
        env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": self.work, "TMPDIR": self.root}
        env["PYTHONPATH"] = os.pathsep.join([PLUGIN, self.standin])
        env["VOBS_INSTRUMENT_DIR"] = self.out
        env.update(variables)
        # -S: without the plugins installed on this machine.
        return subprocess.run([sys.executable, "-S", path], cwd=self.work, env=env, capture_output=True, text=True, timeout=120)

    def python(self, script, code=0, output="", **variables):
        """Runs a script and returns the reports of its processes."""
        before = self.files()
        done = self.run_python(script, **variables)
        self.assertEqual(done.returncode, code, done.stderr)
        if output is not None:
            self.assertEqual((done.stdout, done.stderr), (output, ""))
        self.assertEqual(self.files() - before - {os.path.join(self.work, "script.py")}, set(), "files outside its folder")
        return self.reports()

    def files(self):
        out = set()
        for folder, _, names in os.walk(self.root):
            if folder != self.out:
                out.update(os.path.join(folder, name) for name in names)
        return out

    def reports(self):
        out = []
        for name in sorted(os.listdir(self.out)):
            self.assertRegex(name, r"^process-\d+-\d+\.json$")
            path = os.path.join(self.out, name)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            with open(path, encoding="ascii") as f:
                out.append(json.load(f))
        return out

    @staticmethod
    def hooks(process):
        return {h["name"]: h["state"] for h in process["hooks"]}


class Engines(Case):
    def test_spawn(self):
        reports = self.python(ENGINE + '    run("spawn")\n')
        self.assertEqual(len(reports), 2)
        (core,) = [p for p in reports if p["cores"]]
        (front,) = [p for p in reports if not p["cores"]]
        self.assertEqual(front["data_parallel_sizes"], [1])
        self.assertEqual(core["ppid"], front["pid"])
        self.assertEqual(core["vllm"], "0.32.0+standin")
        (entry,) = core["cores"]
        self.assertEqual((entry["phase"], entry["index"], entry["missing"]), ("ready", 0, []))
        self.assertEqual(entry["config"]["model_config"]["dtype"], "torch.bfloat16")
        self.assertEqual(entry["config"]["speculative_config"], None)
        self.assertNotIn("data_parallel_size", entry["config"]["parallel_config"])
        self.assertEqual(
            entry["live"],
            {
                "max_num_running_reqs": 16,
                "max_num_scheduled_tokens": 4096,
                "max_model_len": 512,
                "enable_caching": True,
                "num_gpu_blocks": 40,
            },
        )
        self.assertEqual(core["worker"]["cuda"], "not built")
        self.assertEqual(core["worker"]["attention_backends"], ["vllm.v1.attention.backends.cpu_attn.CPUAttentionBackend"])
        for process in reports:
            self.assertEqual(set(self.hooks(process).values()), {"found"})
        self.assertNotIn("hf_secret", json.dumps(reports))

    def test_fork(self):
        reports = self.python(ENGINE + '    run("fork")\n')
        self.assertEqual(len(reports), 2)
        (core,) = [p for p in reports if p["cores"]]
        self.assertEqual([c["phase"] for c in core["cores"]], ["ready"])
        self.assertEqual(core["data_parallel_sizes"], [], "inherited from its parent")
        self.assertEqual(core["worker"]["rank"], 0)

    def test_in_process(self):
        # VLLM_ENABLE_V1_MULTIPROCESSING=0: no busy loop runs.
        script = (
            ENGINE + "    config = EngineArgs().create_engine_config()\n"
            "    from vllm.v1.engine.core import EngineCore\n    EngineCore(config)\n"
        )
        (process,) = self.python(script)
        self.assertEqual([c["phase"] for c in process["cores"]], ["ready"])

    def test_two_cores_are_two_files(self):
        reports = self.python(ENGINE + '    run("spawn", 0)\n    run("spawn", 1)\n')
        self.assertEqual(sorted(p["cores"][0]["index"] for p in reports if p["cores"]), [0, 1])

    def test_effective_values(self):
        # The core's own change, and a scheduler that applies another limit.
        self.change(
            "vllm/v1/engine/core.py",
            "max_num_running_reqs=vllm_config.scheduler_config.max_num_seqs",
            "max_num_running_reqs=7",
        )
        reports = self.python(ENGINE + '    run("spawn", model_config__non_causal=True)\n')
        (core,) = [p["cores"][0] for p in reports if p["cores"]]
        self.assertIs(core["config"]["scheduler_config"]["enable_chunked_prefill"], False)
        self.assertIs(core["live"]["enable_caching"], False)
        self.assertEqual(core["config"]["scheduler_config"]["max_num_seqs"], 16)
        self.assertEqual(core["live"]["max_num_running_reqs"], 7)

    def test_values_that_json_lacks(self):
        changes = (
            "model_config__served_model_name=['a', 'b'], cache_config__gpu_memory_utilization=float('nan'), model_config__model='x' * 9999"
        )
        reports = self.python(ENGINE + f'    run("fork", {changes})\n')
        (core,) = [p["cores"][0] for p in reports if p["cores"]]
        self.assertNotIn("served_model_name", core["config"]["model_config"])
        self.assertNotIn("gpu_memory_utilization", core["config"]["cache_config"])
        self.assertEqual(len(core["config"]["model_config"]["model"]), 4096)
        self.assertIsNone(core["config"]["model_config"]["quantization"])

    def test_core_that_dies_before_it_is_ready(self):
        self.change("vllm/v1/engine/core.py", "        self.worker.initialize_from_config(None)", "        raise OSError('no')")
        reports = self.python(ENGINE + '    run("spawn")\n', code=1, output=None)
        self.assertEqual([c["phase"] for p in reports for c in p["cores"]], ["kv_caches"])


class Statistics(Case):
    SCRIPT = ENGINE + '    print(run("fork", disable_log_stats={}).disable_log_stats)\n'

    def test_forced(self):
        reports = self.python(self.SCRIPT.format(True), output="False\n", VOBS_INSTRUMENT_STATS="1")
        self.assertEqual(sorted(p["stats_forced"] for p in reports), [0, 1])

    def test_already_on(self):
        reports = self.python(self.SCRIPT.format(False), output="False\n", VOBS_INSTRUMENT_STATS="1")
        self.assertEqual(sum(p["stats_forced"] for p in reports), 0)

    def test_left_alone(self):
        for value in ("0", ""):
            reports = self.python(self.SCRIPT.format(True), output="True\n", VOBS_INSTRUMENT_STATS=value)
            self.assertEqual(sum(p["stats_forced"] for p in reports), 0)

    def test_field_missing(self):
        self.change("vllm/engine/arg_utils.py", "self.disable_log_stats = disable_log_stats", "pass")
        reports = self.python(ENGINE + '    run("fork")\n', VOBS_INSTRUMENT_STATS="1")
        (front,) = [p for p in reports if not p["cores"]]
        self.assertEqual(self.hooks(front)["EngineArgs.disable_log_stats"], "missing")


class Loading(Case):
    def test_without_folder(self):
        script = ENGINE + '    run("fork")\n    assert not sys.modules["vobs_instrument"]._report\n'
        self.assertEqual(self.python(script, VOBS_INSTRUMENT_DIR=""), [])
        self.python(script, VOBS_INSTRUMENT_DIR=os.path.join(self.root, "gone"), code=1, output=None)  # the assertion fails: _report is set

    def test_folder_missing(self):
        self.assertEqual(self.python(ENGINE + '    run("fork")\n', VOBS_INSTRUMENT_DIR=os.path.join(self.root, "gone")), [])

    def test_once(self):
        script = (
            ENGINE + "    import vobs_instrument\n    EngineArgs()\n    vobs_instrument.load()\n"
            "    import vllm.plugins\n    vllm.plugins.plugins_loaded = False\n    vllm.plugins.load_general_plugins()\n"
            "    import os\n    assert len(os.listdir(os.environ['VOBS_INSTRUMENT_DIR'])) == 1\n"
            "    from vllm.v1.engine.core import EngineCoreProc\n"
            "    assert not hasattr(EngineCoreProc.run_busy_loop.__wrapped__, '__wrapped__')\n"
            "    assert not hasattr(EngineArgs.create_engine_config.__wrapped__, '__wrapped__')\n"
            "    vobs_instrument._report = None\n    vobs_instrument.load()\n"
            "    assert not hasattr(EngineArgs.create_engine_config.__wrapped__, '__wrapped__')\n"
        )
        self.python(script)

    def test_only_if_named(self):
        for value, count in (("other", 0), ("", 0), ("other,vobs", 2)):
            with self.subTest(value):
                self.assertEqual(len(self.python(ENGINE + '    run("fork")\n', VLLM_PLUGINS=value)), count)

    def test_core_imported_before(self):
        reports = self.python("import vllm.v1.engine.core\n" + ENGINE + '    run("fork")\n')
        self.assertEqual([c["phase"] for p in reports for c in p["cores"]], ["ready"])

    def test_import_that_fails_once(self):
        # The error passes through, and the second import is hooked.
        self.change(
            "vllm/v1/engine/core.py",
            "import types\n",
            "import types\nimport os\nif not os.environ.pop('SECOND', None):\n    os.environ['SECOND'] = '1'\n    raise ImportError('first')\n",
        )
        script = (
            ENGINE + "    EngineArgs()\n    try:\n        import vllm.v1.engine.core\n        assert False\n"
            "    except ImportError as error:\n        assert str(error) == 'first'\n"
            "    from vllm.v1.engine.core import EngineCore\n    assert EngineCore.__init__.__wrapped__\n"
        )
        self.python(script)

    def test_modules_look_unchanged(self):
        # Loaders, signatures, names and docstrings.
        script = (
            ENGINE + "    EngineArgs()\n    import inspect, vllm.v1.engine.core as core\n"
            "    assert 'exec_module' not in vars(core.__spec__.loader), vars(core.__spec__.loader)\n"
            "    assert inspect.getsource(core).startswith('import types')\n"
            "    f = EngineArgs.create_engine_config\n"
            "    assert str(inspect.signature(f)) == '(self, usage_context=None, headless=False)'\n"
            "    assert (f.__name__, f.__doc__) == ('create_engine_config', 'Create the VllmConfig.')\n"
        )
        self.python(script)


class Faults(Case):
    def test_errors_pass_through(self):
        script = (
            ENGINE + "    try:\n        EngineArgs().create_engine_config('fail')\n        assert False\n"
            '    except ValueError as error:\n        assert str(error) == "the engine\'s own"\n'
        )
        self.python(script)

    def test_every_hook_may_fail(self):
        broken = {
            # The hook that fails, and a change of vLLM that makes it fail.
            "EngineArgs.create_engine_config": (
                "vllm/engine/arg_utils.py",
                "        return config.make(**self.changes)",
                "        made = config.make(**self.changes)\n        made.parallel_config = Broken()\n        return made\n\n\n"
                "class Broken:\n    @property\n    def data_parallel_size(self):\n        raise RuntimeError('broken')",
            ),
            "EngineCoreProc.run_busy_loop": (
                "vllm/v1/engine/core.py",
                "        self.scheduler = types.SimpleNamespace(",
                "        self.scheduled = types.SimpleNamespace(",
            ),
            "EngineCore._initialize_kv_caches": (
                "vllm/v1/engine/core.py",
                "        self.vllm_config = vllm_config\n",
                "",
            ),
            "WorkerWrapperBase.init_device": ("torch/__init__.py", "return self.started", "raise RuntimeError('broken')"),
            "WorkerWrapperBase.initialize_from_config": (
                "vllm/v1/worker/worker_base.py",
                "attn_groups=[[group]]",
                "attn_groups=[[None]]",
            ),
        }  # fmt: skip
        for hook, (path, old, new) in broken.items():
            with self.subTest(hook):
                self.setUp()
                self.change(path, old, new)
                reports = self.python(ENGINE + '    run("fork")\n', STANDIN_CUDA="1")
                failed = {h["name"]: h["error"] for p in reports for h in p["hooks"] if h["state"] == "failed"}
                self.assertIn(hook, failed)
                self.assertRegex(failed[hook], "^[A-Za-z]*Error: .")

    def test_every_name_may_be_missing(self):
        renamed = {
            "EngineArgs.create_engine_config": ("vllm/engine/arg_utils.py", "def create_engine_config", "def create_config"),
            "EngineCore._initialize_kv_caches": ("vllm/v1/engine/core.py", "_initialize_kv_caches", "_init_kv_caches"),
            "EngineCoreProc.run_busy_loop": ("vllm/v1/engine/core.py", "run_busy_loop", "run_loop"),
            "WorkerWrapperBase.init_device": ("vllm/v1/worker/worker_base.py", "class WorkerWrapperBase:", "class Wrapper:"),
            "WorkerWrapperBase.initialize_from_config": (
                "vllm/v1/worker/worker_base.py", "def initialize_from_config(self, kv_cache_configs)", "def initialize(self, kv_cache_configs)",
            ),
        }  # fmt: skip
        script = ENGINE + "    EngineArgs()\n    try:\n        import vllm.v1.engine.core\n    except ImportError:\n        pass\n"
        for hook, change in renamed.items():
            with self.subTest(hook):
                self.setUp()
                self.change(*change)
                (process,) = self.python(script + "    __import__('vobs_instrument')._report.write()\n")
                self.assertEqual(self.hooks(process)[hook], "missing")
                (error,) = [h["error"] for h in process["hooks"] if h["name"] == hook]
                self.assertRegex(error, r"^vllm\.[\w.]+ has no \w+$")

    def test_older_module_of_the_worker(self):
        # Up to 0.10: vllm.v1.worker.worker_base has no WorkerWrapperBase.
        os.makedirs(os.path.join(self.standin, "vllm/worker"))
        shutil.move(os.path.join(self.standin, "vllm/v1/worker/worker_base.py"), os.path.join(self.standin, "vllm/worker/worker_base.py"))
        for path in ("vllm/worker/__init__.py", "vllm/v1/worker/worker_base.py"):
            with open(os.path.join(self.standin, path), "w", encoding="utf-8"):
                pass
        self.change("vllm/v1/engine/core.py", "vllm.v1.worker.worker_base", "vllm.worker.worker_base")
        reports = self.python("import vllm.v1.worker.worker_base\n" + ENGINE + '    run("fork")\n')
        (core,) = [p for p in reports if p["cores"]]
        self.assertEqual(self.hooks(core)["WorkerWrapperBase.init_device"], "found")
        self.assertEqual(core["worker"]["rank"], 0)

    def test_other_scheduler(self):
        self.change("vllm/v1/engine/core.py", "block_pool=types.SimpleNamespace(num_gpu_blocks=40)", "")
        reports = self.python(ENGINE + '    run("fork")\n')
        (core,) = [p["cores"][0] for p in reports if p["cores"]]
        self.assertEqual(core["missing"], ["scheduler.kv_cache_manager.block_pool.num_gpu_blocks"])
        self.assertIs(core["live"]["enable_caching"], True)

    def test_interrupt_is_not_swallowed(self):
        # A signal handler may raise anywhere, in the plugin's code too.
        self.change(
            "vllm/v1/engine/core.py",
            "max_num_running_reqs=vllm_config",
            "max_num_running=vllm_config",
        )
        self.change(
            "vllm/v1/engine/core.py",
            "        self.scheduler = types.SimpleNamespace(",
            "        class Interrupted(types.SimpleNamespace):\n            @property\n            def max_num_running_reqs(self):\n"
            "                raise KeyboardInterrupt\n\n        self.scheduler = Interrupted(",
        )
        script = (
            ENGINE + "    from vllm.v1.engine.core import EngineCore\n    args = EngineArgs()\n    config = args.create_engine_config()\n"
        )
        script += "    try:\n        EngineCore(config)\n        assert False\n    except KeyboardInterrupt:\n        pass\n"
        self.python(script)


class Memory(Case):
    # A worker in the script's process; the script plays its allocator.
    SCRIPT = (
        ENGINE + "    EngineArgs()\n    import os, signal, threading, torch, vobs_instrument\n    vobs_instrument.PERIOD = PERIOD\n"
        "    from vllm.v1.worker.worker_base import WorkerWrapperBase\n"
        "    w = WorkerWrapperBase(rpc_rank=0, global_rank=3)\n    w.init_worker()\n    w.init_device()\n"
        "    def until(condition):\n"
        "        import time\n"
        "        end = time.monotonic() + 60\n"
        "        while not condition():\n            assert time.monotonic() < end\n            time.sleep(0.001)\n"
        "    reader = vobs_instrument._report.peak_reader\n"
    )
    DEVICE = {"index": 1, "uuid": "8f6a3c1e-0d2b-4a77-9f57-5c1a3b0e9d41", "max_allocated_bytes": 1000, "max_reserved_bytes": 2000}

    SCRIPT_FAST = SCRIPT.replace("= PERIOD", "= 0.01")

    def worker(self, script, period=0.01, **variables):
        (process,) = self.python(self.SCRIPT.replace("= PERIOD", f"= {period}") + script, STANDIN_CUDA="1", **variables)
        return process["worker"]

    def test_final_reading(self):
        # The period is longer than the run, so there are no periodic readings.
        worker = self.worker("    torch.cuda.allocated = 5000\n", period=600, CUDA_VISIBLE_DEVICES="4,7")
        self.assertEqual(worker["rank"], 3)
        self.assertEqual((worker["cuda"], worker["cuda_visible_devices"]), ("initialized", "4,7"))
        self.assertEqual(worker["devices"], [dict(self.DEVICE, max_allocated_bytes=5000)])

    def test_final_reading_of_a_forked_worker(self):
        script = (
            ENGINE
            + "    import torch, vobs_instrument\n    def work():\n        from vllm.v1.worker.worker_base import WorkerWrapperBase\n"
            "        w = WorkerWrapperBase()\n        w.init_worker()\n        vobs_instrument.PERIOD = 600\n        w.init_device()\n"
            "        torch.cuda.reserved = 9000\n"
            "    EngineArgs()\n    p = multiprocessing.get_context('fork').Process(target=work)\n    p.start()\n    p.join()\n"
        )
        reports = self.python(script, STANDIN_CUDA="1")
        (worker,) = [p["worker"] for p in reports if p["worker"]]
        self.assertEqual(worker["devices"], [dict(self.DEVICE, max_reserved_bytes=9000)])

    def test_highest_reading_counts(self):
        # vLLM resets torch's peaks after its profile run.
        script = (
            "    torch.cuda.allocated = 7000\n    until(lambda: reader.peaks[1][0] == 7000)\n"
            "    torch.cuda.allocated = 500\n    n = torch.cuda.reads\n    until(lambda: torch.cuda.reads > n + 1)\n"
        )
        self.assertEqual(self.worker(script)["devices"], [dict(self.DEVICE, max_allocated_bytes=7000)])

    def test_killed(self):
        script = (
            self.SCRIPT_FAST + "    torch.cuda.allocated = 7000\n"
            "    until(lambda: '7000' in open(os.path.join(os.environ['VOBS_INSTRUMENT_DIR'], vobs_instrument._report.name)).read())\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        (process,) = self.python(script, code=-signal.SIGKILL, output=None, STANDIN_CUDA="1")
        self.assertEqual(process["worker"]["devices"], [dict(self.DEVICE, max_allocated_bytes=7000)])

    def test_cuda_is_not_started(self):
        self.change("torch/__init__.py", "    cuda.started = True\n", "")
        worker = self.worker("    until(lambda: reader.is_alive())\n")
        self.assertEqual((worker["cuda"], worker["devices"]), ("not initialized", []))

    def test_only_its_own_device(self):
        self.change("torch/__init__.py", "return self.allocated if index == 1 else 0", "return self.allocated")
        self.assertEqual(self.worker("")["devices"], [self.DEVICE])

    def test_unknown_device(self):
        # All devices that torch sees are read, and those without allocations left out.
        self.change("torch/__init__.py", 'type="cuda", index=1', 'type="cuda", index=None')
        self.change("torch/__init__.py", 'return types.SimpleNamespace(uuid=f"8f6a3c1e-0d2b-4a77-9f57-5c1a3b0e9d4{index}")', "return None")
        self.assertEqual(self.worker("")["devices"], [dict(self.DEVICE, uuid=None)])

    def test_other_versions_of_torch(self):
        for old, new in (
            ("def memory_stats_as_nested_dict", "def memory_stats_nested"),
            ('"reserved_bytes": {"all"', '"reserved_bytes": {"total"'),
        ):
            with self.subTest(new):
                self.setUp()
                self.change("torch/__init__.py", old, new)
                self.assertEqual(self.worker("")["devices"], [self.DEVICE])

    def test_reading_fails_later(self):
        reports = self.python(
            self.SCRIPT_FAST + "    torch.cuda.broken = True\n    until(lambda: not reader.is_alive())\n", STANDIN_CUDA="1"
        )
        self.assertEqual(reports[0]["worker"]["devices"], [self.DEVICE])
        self.assertEqual(self.hooks(reports[0])["WorkerWrapperBase.init_device"], "failed")

    def test_hanging_driver_does_not_keep_the_process(self):
        self.change(
            "torch/__init__.py",
            "        self.reads += 1\n",
            "        self.reads += 1\n        if self.broken:\n            import threading\n            threading.Event().wait()\n",
        )
        worker = self.worker("    n = torch.cuda.reads\n    torch.cuda.broken = True\n    until(lambda: torch.cuda.reads > n)\n")
        self.assertEqual(worker["devices"], [self.DEVICE])

    def test_writes_only_what_is_new(self):
        script = (
            "    until(lambda: reader.peaks)\n    written = []\n    reader.report.write = lambda: written.append(1)\n"
            "    n = torch.cuda.reads\n    until(lambda: torch.cuda.reads > n + 9)\n    assert not written, written\n"
        )
        self.worker(script)

    def test_cost(self):
        # CPU time of one reading, without and with a new peak that has to be written. There
        # is one reading per second of the run.
        script = """
    reader.ending.set()
    reader.join()
    import time
    def cost(rise):
        best = 1
        for _ in range(50):
            began = time.thread_time()
            for _ in range(10):
                torch.cuda.allocated += rise
                reader.read_and_write()
            best = min(best, (time.thread_time() - began) / 10)
        return best * 1e3
    print(f"{cost(0):.3f} {cost(1):.3f}")
"""
        done = self.run_python(self.SCRIPT_FAST + script, STANDIN_CUDA="1")
        quiet, busy = done.stdout.split()
        print(f"{quiet} ms of CPU time for each second of a worker, {busy} ms while its peaks rise")
        self.assertLess(float(busy), 1.0, done.stderr)


if __name__ == "__main__":
    unittest.main()
