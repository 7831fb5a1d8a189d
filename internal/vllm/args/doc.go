// Package args reads vLLM's command lines as vLLM's own parser does.
//
// [Parse] reads a whole command line once: it finds the vLLM command in it, behind
// launchers such as `env`, `uv run` or `srun`, and reads its options. The options of the
// commands that make an engine are recorded from the real package (options.tsv), and
// the steps of FlexibleArgumentParser (vllm/utils/argparse_utils.py) and of Python's
// argparse are followed, so that an abbreviation, a dotted name or a file of options
// means here what it means there. testdata/spellings.json holds vLLM's own results,
// which a test compares. Other versions of vLLM have other options: one that the table
// does not know is kept under its name, and what vLLM 0.32 would refuse is reported,
// never guessed.
package args
