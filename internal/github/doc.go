// Package github reports results to the job of GitHub Actions that vobs runs in (--github-summary).
//
// A [Step] has two outputs. Markdown is appended to the file of the environment variable
// GITHUB_STEP_SUMMARY, which GitHub shows on the page of the workflow run. An [Annotation] is a
// workflow command, a line such as `::error title=T::message`, which GitHub reads from the output
// of the step; vobs writes it to stderr, because stdout is for results.
//
// Neither changes what a subcommand does. Only regular files are written, within a time limit;
// what cannot be written is a warning.
//
// Sources: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands for
// the file, its limit of 1 MiB per step, and the commands; actions/toolkit,
// packages/core/src/command.ts, for how their values are escaped.
package github
