#!/usr/bin/env python3
"""Records vLLM's own parser for the option table and the tests of internal/vllm/args.

Run by hand in internal/vllm/args, with the python of an environment that has vLLM
(make e2e-vllm builds one; nothing is started, no model is needed):

    ../../../.e2e/vllm/venv/bin/python testdata/record.py

It writes options.tsv, the options of the commands that make an engine, and
testdata/spellings.json, the result of parsing each line of testdata/spellings.txt with
the parsers that vllm/entrypoints/cli/main.py builds. Only what a line sets is recorded:
the parsers' defaults are removed first.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import shlex
import sys

os.environ.setdefault("VLLM_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
sys.argv = ["vllm", "bench"]  # otherwise the benchmarks' parsers are not built

import vllm.entrypoints.cli.benchmark.main as bench
import vllm.entrypoints.cli.launch as launch
import vllm.entrypoints.cli.run_batch as run_batch
import vllm.entrypoints.cli.serve as serve
from vllm.engine.arg_utils import AsyncEngineArgs, _expand_json_human_readable_numbers
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser


class Refused(Exception):
    pass


def refuse(self, message):
    raise Refused(message)


FlexibleArgumentParser.error = refuse


def make_parser():
    """Returns vllm/entrypoints/cli/main.py's parser for the commands that make an engine."""
    parser = FlexibleArgumentParser(prog="vllm")
    parser.add_argument("-v", "--version", action="version", version="")
    sub = parser.add_subparsers(required=False, dest="subparser")
    for module in (serve, launch, bench, run_batch):
        for cmd in module.cmd_init():
            cmd.subparser_init(sub)
    return parser


def children(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def all_parsers(parser):
    yield parser
    for child in children(parser).values():
        yield from all_parsers(child)


def kind(fn):
    """Returns the name of an option's type, after a ? if "" and None are no value."""
    if getattr(fn, "__name__", "") == "<lambda>":
        try:
            return {"a_b": "lower", "['A-B']": "csv"}.get(str(fn("A-B")), "other")
        except Exception:
            return "other"
    if fn is None or fn is str:
        return "str"
    if fn in (int, float):
        return fn.__name__
    name = getattr(fn, "__qualname__", "")
    cells = dict(zip(getattr(fn, "__code__", fn).co_freevars, fn.__closure__ or ())) if hasattr(fn, "__code__") else {}
    inner = cells["return_type"].cell_contents if "return_type" in cells else None
    if name.endswith("_optional_type"):
        return "?" + kind(inner)
    if name.endswith("._parse_type"):
        return kind(inner)
    if name.endswith("parse_dataclass"):
        return "config"
    return {
        "human_readable_int": "human",
        "human_readable_int_or_auto": "humanauto",
        "loads": "json",
        "union_dict_and_str": "dictstr",
    }.get(name, "other")


ENGINE = {f.name for f in dataclasses.fields(AsyncEngineArgs)}


def row(action):
    nargs = "" if action.nargs is None else str(action.nargs)
    what = kind(action.type)
    if isinstance(action, argparse.BooleanOptionalAction):
        what = "bool"
    elif isinstance(action, argparse._StoreTrueAction):
        what = "true"
    elif isinstance(action, argparse._StoreFalseAction):
        what = "false"
    elif action.nargs == 0:
        what = "ends"  # --help, --version
    elif isinstance(action, argparse._AppendAction):
        what = "append"
    elif not isinstance(action, argparse._StoreAction):
        what = "other"
    elif action.nargs == "?" and action.const is True:
        what = "flagstr"
    choices = "|".join(str(c) for c in action.choices or () if c is not None)
    return (
        " ".join(action.option_strings) or "-",
        action.dest,
        nargs,
        what,
        choices,
        "engine" if action.dest in ENGINE else "",
    )


def write_options(parser):
    sub = children(parser)
    parsers = {"serve": sub["serve"], "run-batch": sub["run-batch"]}
    for name in ("throughput", "latency", "startup", "mm-processor"):
        parsers[name] = children(sub["bench"])[name]
    rows, order = {}, []
    for name, p in parsers.items():
        for action in p._actions:
            r = row(action)
            if r not in rows:
                rows[r] = []
                order.append(r)
            rows[r].append(name)
    with open("options.tsv", "w") as f:
        f.write("# vLLM " + importlib.metadata.version("vllm") + ", made by testdata/record.py\n")
        f.write("# commands\tspellings\tname\tnumber of values\ttype\tchoices\tengine, if it is a field of AsyncEngineArgs\n")
        for r in order:
            f.write("\t".join((",".join(rows[r]), *r)) + "\n")


def without_defaults(parser):
    """Removes the defaults, and keeps the JSON of the engine's config classes as JSON."""
    for p in all_parsers(parser):
        p._defaults.clear()
        for action in p._actions:
            action.default = argparse.SUPPRESS
            if action.type is not None and kind(action.type).lstrip("?") == "config":
                action.type = checked_json(action.type)
    return parser


def checked_json(fn):
    def parse(val):
        out = fn(val)  # raises if vLLM refuses the value
        return None if out is None else json.loads(_expand_json_human_readable_numbers(val))

    return parse


def to_json(x):
    if isinstance(x, (str, int, float, bool)) or x is None:
        return x
    if isinstance(x, dict):
        return {k: to_json(v) for k, v in x.items()}
    if isinstance(x, (list, tuple, set)):
        return [to_json(v) for v in x]
    return repr(x)


def parse_line(parser, api_server, line):
    args = shlex.split(line)
    module = args[0] == "api_server"
    try:
        space = vars((api_server if module else parser).parse_args(args[1:] if module else args))
    except (Refused, Exception, SystemExit) as e:
        return {"line": line, "refused": " ".join(str(e).split())[:200] or type(e).__name__}
    if space.get("subparser") == "serve" and space.get("model_tag") is not None:
        space["model"] = space["model_tag"]  # vllm/entrypoints/cli/serve.py
    for name in ("subparser", "bench_type", "launch_component", "model_tag", "dispatch_function", "config"):
        space.pop(name, None)
    return {"line": line, "set": to_json(space)}


def main():
    write_options(make_parser())
    parser = without_defaults(make_parser())
    api_server = without_defaults(make_arg_parser(FlexibleArgumentParser()))
    out = []
    for line in open("testdata/spellings.txt"):
        line = line.strip()
        if line and not line.startswith("#"):
            out.append(parse_line(parser, api_server, line))
    with open("testdata/spellings.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(a) for a in out) + "\n]\n")


main()
