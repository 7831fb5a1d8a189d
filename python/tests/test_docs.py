"""The examples of docs/python.md print what the page says.

With UPDATE=1 in the environment the page gets what they print.
"""

import contextlib
import io
import os
import re

import pytest
from conftest import ROOT

PAGE = ROOT / "docs/python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```\n(\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def test_examples(tmp_path, monkeypatch):
    pytest.importorskip("pandas", minversion="3")  # which prints a little differently before
    os.symlink(ROOT / "testdata", tmp_path / "testdata")
    monkeypatch.chdir(tmp_path)
    names = {}
    ran = 0

    def run(block):
        nonlocal ran
        ran += 1
        code, _, expected = block.groups()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, names)
        printed = out.getvalue()
        if not os.environ.get("UPDATE"):
            assert printed == (expected or ""), code
        return f"```python\n{code}```\n" + (f"\n```text\n{printed}```\n" if printed else "")

    page = BLOCK.sub(run, PAGE.read_text())
    assert ran > 3
    if os.environ.get("UPDATE"):
        PAGE.write_text(page)
