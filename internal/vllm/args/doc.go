// Package args reads vLLM's command lines as vLLM's own parser does.
//
// [Parse] finds the vLLM command in a command line, after launchers such as `env`, `uv run`
// or `srun` and in `docker run`, and parses its options. The options of the commands that start an engine are
// recorded from vLLM itself (options.tsv). The parser follows the steps of vLLM's
// FlexibleArgumentParser (vllm/utils/argparse_utils.py) and of Python's argparse, so that an
// abbreviation, a dotted name or a file of options has the same meaning. A test compares the
// results with those of vLLM (testdata/spellings.json). Other versions of vLLM have other
// options: an unknown one is kept under its name, and what vLLM 0.32 would refuse is
// reported, never guessed.
//
// [ParseValue], [CheckValue] and [ParseYAML] read settings that do not come from a command
// line, by the same rules.
package args
