// Package shells tests the completion scripts in real shells, as when a user types: see run.sh.
package shells

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// patience is how long a shell may take to show something.
const patience = 20 * time.Second

// shell is how a shell is started with the completion of vobs and of a command called wrapped.
type shell struct {
	name string
	argv func(root, home string) []string
	env  func(root string) []string
	// rc is the file that it reads at the start, with its name.
	rcName, rc string
}

// In each shell the command wrapped has a completion of its own: --of-wrapped.
var shells = []shell{
	{
		name: "bash",
		argv: func(_, home string) []string {
			return []string{"bash", "--noprofile", "--rcfile", home + "/.bashrc", "-i"}
		},
		rcName: ".bashrc",
		rc: `PS1='$ '
bind 'set enable-bracketed-paste off' 'set bell-style none' 2>/dev/null
bind 'set page-completions off'; bind 'set completion-query-items 0'
[ "$ROOT" = "" ] || . "$ROOT/usr/share/bash-completion/bash_completion"
_wrapped() { COMPREPLY=($(compgen -W "--of-wrapped" -- "${COMP_WORDS[COMP_CWORD]}")); }
complete -F _wrapped wrapped
. "$COMPLETIONS/vobs.bash"
`,
	},
	{
		name: "zsh",
		argv: func(root, _ string) []string { return []string{root + "/bin/zsh", "-i"} },
		env: func(root string) []string {
			return []string{"FPATH=" + strings.Join(functions(root), ":")}
		},
		rcName: ".zshrc",
		rc: `module_path=($ROOT/usr/lib/*/zsh/*(N))
PS1='$ ' PROMPT_EOL_MARK=
unsetopt beep; LISTMAX=10000
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit && compinit -u -D
zstyle ':completion:*' verbose no
_wrapped() { compadd -- --of-wrapped }
compdef _wrapped wrapped
bindkey '^I' complete-word
`,
	},
	{
		name: "fish",
		argv: func(root, _ string) []string { return []string{root + "/usr/bin/fish", "-i"} },
		env: func(root string) []string {
			libraries, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu")
			return []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
		},
		rcName: ".config/fish/config.fish",
		rc: `function fish_prompt; echo -n '$ '; end
set -g fish_greeting
set -g fish_autosuggestion_enabled 0
set -p fish_complete_path $COMPLETIONS
complete -c wrapped -f -l of-wrapped
`,
	},
}

// functions returns the directories of zsh's functions.
func functions(root string) []string {
	dirs, _ := filepath.Glob(root + "/usr/share/zsh/functions/*")
	more, _ := filepath.Glob(root + "/usr/share/zsh/functions/*/*")
	return append(dirs, more...)
}

// cases are what is typed, with \t for the Tab key, and what the shell then shows.
var cases = []struct{ title, typed, want string }{
	{"a subcommand", "vobs doc\t", "vobs doctor"},
	{"another", "vobs val\t", "vobs validate"},
	{"a flag of run", "vobs run --kill\t", "--kill-leftovers"},
	{"the words of a flag", "vobs run --multiproc au\t", "--multiproc auto"},
	{"the words of a flag after =", "vobs run --schema=co\t", "--schema=core"},
	{"all words of a flag", "vobs run --wandb \t\t", "disabled"},
	{"a file of a flag", "vobs run -o unusual-n\t", "unusual-name.json"},
	{"a file of a subcommand", "vobs validate unusual-n\t", "unusual-name.json"},
	{"a file behind a flag", "vobs check --format json unusual-n\t", "unusual-name.json"},
	{"the command", "vobs run wrapp\t", "vobs run wrapped"},
	{"the command behind --", "vobs run -- wrapp\t", "vobs run -- wrapped"},
	{"the command behind flags", "vobs run --label a=b --metrics-url http://127.0.0.1:8000 wrapp\t", "8000 wrapped"},
	{"the command's own flag", "vobs run wrapped --of\t", "--of-wrapped"},
	{"the command's own flag behind --", "vobs run -o x -- wrapped --of\t", "--of-wrapped"},
	{"a command called like a subcommand", "vobs run -- wrapped doctor --of\t", "--of-wrapped"},
	{"an argument of the command behind --", "vobs run -- wrapped -\t", "--of-wrapped"},
	{"a later argument of it", "vobs run --summary -- wrapped x --of\t", "--of-wrapped"},
	{"a file of a command without completion", "vobs run -- plain unusual-n\t", "unusual-name.json"},
	{"the first command of ab", "vobs ab wrapp\t", "vobs ab wrapped"},
	{"the second command of ab", "vobs ab -- wrapped x --- wrapp\t", "--- wrapped"},
	{"the second command's own flag", "vobs ab -- wrapped x --- wrapped --of\t", "--of-wrapped"},
	{"a shell", "vobs completion fi\t", "vobs completion fish"},
	{"help", "vobs help doc\t", "vobs help doctor"},
}

func TestCompletion(t *testing.T) {
	root := os.Getenv("VOBS_E2E_SHELLS")
	if root == "" {
		t.Skip("SKIPPED: run make e2e-shells: it fetches zsh, fish and bash-completion")
	}
	vobs, err := filepath.Abs(os.Getenv("VOBS"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shells {
		t.Run(s.name, func(t *testing.T) {
			term := start(t, s, root, vobs)
			for _, c := range cases {
				t.Run(c.title, func(t *testing.T) { term.try(t, c.typed, c.want) })
			}
		})
	}
}

// terminal is a shell in a pseudo-terminal.
type terminal struct {
	in *os.File

	mu    sync.Mutex
	shown bytes.Buffer
}

func start(t *testing.T, s shell, root, vobs string) *terminal {
	t.Helper()
	home := t.TempDir()
	completions := filepath.Join(home, "completions")
	write := func(name string, text []byte, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range map[string]string{"bash": "vobs.bash", "zsh": "_vobs", "fish": "vobs.fish"} {
		script, err := exec.Command(vobs, "completion", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		write("completions/"+file, script, 0o666)
	}
	write(s.rcName, []byte(s.rc), 0o666)
	write("bin/wrapped", []byte("#!/bin/sh\n"), 0o777)
	write("bin/plain", []byte("#!/bin/sh\n"), 0o777)
	write("work/unusual-name.json", nil, 0o666)

	argv := s.argv(root, home)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = filepath.Join(home, "work")
	cmd.Env = []string{
		"HOME=" + home, "ZDOTDIR=" + home, "XDG_CONFIG_HOME=" + home + "/.config", "XDG_DATA_HOME=" + home + "/.data", "TERM=xterm", "LANG=C.UTF-8",
		"PATH=" + filepath.Dir(vobs) + ":" + home + "/bin:/usr/bin:/bin", "ROOT=" + root, "COMPLETIONS=" + completions,
	}
	if s.env != nil {
		cmd.Env = append(cmd.Env, s.env(root)...)
	}
	in, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 60, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{in: in}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := in.Read(buf)
			term.mu.Lock()
			term.shown.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		in.Close()
		<-done
	})
	if !term.await("$ ", patience) {
		t.Fatalf("no prompt: %q", term.text())
	}
	return term
}

// escapes are what moves the cursor or colors text.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])|\x0f|\r`)

// text returns what the shell has shown since the last clear, without escapes. A shell that goes
// back to write over a character writes it twice.
func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	text := escapes.ReplaceAllString(term.shown.String(), "")
	for strings.Contains(text, "\b") { // ahead of each, the character that is written over
		i := strings.IndexByte(text, '\b')
		text = text[:max(i-1, 0)] + text[i+1:]
	}
	return text
}

func (term *terminal) clear() {
	term.mu.Lock()
	defer term.mu.Unlock()
	term.shown.Reset()
}

func (term *terminal) await(want string, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(term.text(), want) {
			return true
		}
	}
	return false
}

// try types something, looks for what is wanted, and drops the line.
func (term *terminal) try(t *testing.T, typed, want string) {
	t.Helper()
	term.clear()
	fmt.Fprint(term.in, typed)
	if !term.await(want, patience) {
		t.Errorf("typed %q, want %q, shown: %q", typed, want, term.text())
	}
	term.clear()
	// The first Ctrl-C may end a completion that goes on.
	for range 10 {
		fmt.Fprint(term.in, "\x03")
		if term.await("$ ", patience/10) {
			return
		}
	}
	t.Fatalf("no prompt: %q", term.text())
}
