#!/usr/bin/env python3
"""A driver of Ray with one worker, which stands in for vLLM's on the fake GPU.

    driver.py DIRECTORY NAME OTHER

It writes the pid of its worker to NAME.worker and that of a process of the worker to NAME.child,
for the script of the fake library, and NAME.ready. It ends when the driver OTHER is ready too,
and the lists of processes in both logs of calls, NAME.calls and OTHER.calls, show that both
workers were sampled.
"""

import os
import subprocess
import sys
import time

import ray

LISTS = 4  # of each device: the worker may be known at the second one
CALL = b" nvmlDeviceGetComputeRunningProcesses"
PATIENCE = 120


@ray.remote
class RayWorkerWrapper:
    """Has the title of vLLM's worker under Ray: ray::RayWorkerWrapper.execute_method."""

    def __init__(self):
        self.child = None

    def start(self):
        self.child = subprocess.Popen(["sleep", "1000"])
        return os.getpid(), self.child.pid, os.environ["RAY_JOB_ID"]

    def execute_method(self, path):
        wait_for(lambda: os.path.exists(path), path)
        self.child.kill()
        self.child.wait()


def wait_for(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"e2e-ray: FAIL: waited {PATIENCE} s for {what}")
        time.sleep(0.05)


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def lists(directory, name):
    try:
        with open(os.path.join(directory, name + ".calls"), "rb") as f:
            return sum(line.split()[-1] == b"0" for line in f if CALL in line)
    except FileNotFoundError:
        return 0


def main():
    directory, name, other = sys.argv[1:]
    path = lambda file: os.path.join(directory, file)
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
    # A worker with an environment of its own is started for the job. The other one is taken from
    # those that Ray has started before.
    options = {"runtime_env": {"env_vars": {"VOBS_E2E": "1"}}} if name == "b" else {}
    worker = RayWorkerWrapper.options(**options).remote()
    pid, child, job = ray.get(worker.start.remote())
    work = worker.execute_method.remote(path(name + ".end"))
    write(path(name + ".child"), f"{child}\n")
    write(path(name + ".worker"), f"{pid}\n")
    write(path(name + ".ready"), f"{ray.get_runtime_context().get_job_id()} {job}\n")
    wait_for(lambda: os.path.exists(path(other + ".ready")), f"driver {other}")
    for log in name, other, "without":
        wanted = lists(directory, log) + LISTS
        wait_for(lambda: lists(directory, log) >= wanted, f"{LISTS} lists of processes in the run of {log}")
    write(path(name + ".sampled"), "")
    # The runs overlap: neither worker ends before the other run has seen it.
    wait_for(lambda: os.path.exists(path(other + ".sampled")), f"driver {other}")
    write(path(name + ".end"), "")
    ray.get(work)


if __name__ == "__main__":
    main()
