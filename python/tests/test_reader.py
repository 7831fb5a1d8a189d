"""Files of events: every form, and what is wrong with them."""

import gzip
import io
import json
import subprocess
import sys
import warnings

import pytest

import vobs

CORE = '{"peak_vram_gb":64.0,"engine_runtime_config":{"max_num_seqs":64}}'
LOG = '{"message":"vLLM generation complete","ctx":' + CORE + "}"
STRUCTLOG = '{"message":"vLLM generation complete","extra":{"ctx":' + CORE + '},"level":"info"}'
OTHER = '{"message":"something else","ctx":{}}'


def text(tmp_path, content):
    path = tmp_path / "events.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines(runs):
    events = vobs.read(runs)
    assert len(events) == 16
    assert all(isinstance(e, vobs.GenerationObservability) for e in events)
    assert events[0].run.exit_code == 0
    assert events[0].gpus[0].peak_bytes > 0


def test_an_indented_document(example):
    (event,) = vobs.read(str(example))
    assert event.run.labels == json.loads(example.read_text())["run"]["labels"]


def test_documents_of_all_kinds_in_one_file(tmp_path, example, runs):
    line = runs.read_text().splitlines()[0]
    path = text(tmp_path, "\n".join([line, OTHER, example.read_text(), CORE, "", LOG, STRUCTLOG]))
    events = vobs.read(path)
    assert [type(e).__name__ for e in events] == ["GenerationObservability"] * 2 + ["Core"] * 3
    assert events[2].engine_runtime_config == {"max_num_seqs": 64}


def test_sources(tmp_path, runs):
    data = runs.read_bytes()
    packed = tmp_path / "events.gz"
    packed.write_bytes(gzip.compress(data))
    for source in (packed, io.BytesIO(data), io.BytesIO(gzip.compress(data)), io.StringIO(data.decode())):
        assert len(vobs.read(source)) == 16
    with open(runs) as as_text:
        assert len(vobs.read(as_text)) == 16
    with open(packed, "rb") as unbuffered:
        assert len(vobs.read(unbuffered)) == 16


@pytest.mark.parametrize("packed", [False, True])
def test_stdin(runs, packed):
    data = gzip.compress(runs.read_bytes()) if packed else runs.read_bytes()
    code = "import vobs; print(len(vobs.read('-')))"
    out = subprocess.run(
        [sys.executable, "-c", code],
        input=data,
        stdout=subprocess.PIPE,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert out.stdout == b"16\n"


def test_a_byte_order_mark_and_carriage_returns(tmp_path):
    path = text(tmp_path, b"\xef\xbb\xbf" + CORE.encode() + b"\r\n" + CORE.encode() + b"\r\n")
    assert len(vobs.read(path)) == 2


def test_an_empty_file_has_no_events(tmp_path):
    assert vobs.read(text(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("x", 1, "not JSON"),
        ("\n[1]", 2, "expected an object"),
        ('{"loss":1}', 1, "'loss'"),
        ("{}", 1, "none at all"),
        ('{"loadavg_pre":[1,2]}', 1, "loadavg_pre"),
        ('{"peak_vram_gb":"64"}', 1, "peak_vram_gb"),
        ('{"peak_vram_gb":NaN}', 1, "NaN"),
        ('{"schema_version":2}', 1, "newer vobs"),
        ('{"schema_version":1}', 1, "field required (and"),
        (CORE + "\n" + '{"peak_vram_gb":1', 2, "cut off"),
        (CORE + "\n" + '{"peak_vram_gb":1\n' + CORE, 2, "cut off"),
        (b'{"peak_vram_gb":1,"x":"\xff"}', 1, "UTF-8"),
        ("[" * 100_000, 1, "not JSON"),
    ],
)
def test_damaged_documents(tmp_path, content, line, reason):
    path = text(tmp_path, content)
    with pytest.raises(vobs.Damaged) as e:
        vobs.read(path)
    assert e.value.line == line and reason in e.value.reason
    assert str(e.value).startswith(f"{path}, line {line}: ")


def test_a_cut_document_is_reported_where_it_begins(tmp_path, example):
    cut = "\n".join(example.read_text().splitlines()[:20])
    path = text(tmp_path, CORE + "\n" + cut + "\n" + CORE + "\n")
    with pytest.warns(vobs.DamagedWarning, match="line 2: not JSON, or cut off") as caught:
        events = vobs.read(path, on_error="warn")
    assert len(events) == 2 and len(caught) == 1


def test_damaged_lines_are_skipped(tmp_path, runs):
    lines = runs.read_text().splitlines()
    lines[3] = lines[3][:1000]
    lines[7] = "garbage"
    path = text(tmp_path, "\n".join(lines) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(vobs.read(path, on_error="skip")) == 14
    with pytest.warns(vobs.DamagedWarning) as caught:
        vobs.read(path, on_error="warn")
    assert [str(w.message).split(": ")[0].rsplit(" ", 1)[1] for w in caught] == ["4", "8"]


def test_damaged_gzip(tmp_path, runs):
    whole = gzip.compress(runs.read_bytes())
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[:-100])
    with pytest.raises(vobs.Damaged, match="compressed data is damaged"):
        vobs.read(path)
    with pytest.warns(vobs.DamagedWarning):
        assert 0 < len(vobs.read(path, on_error="warn")) < 16


def test_newer_values_are_read(example):
    doc = json.loads(example.read_text())
    doc["engine"]["source"] = "a newer source"
    (event,) = vobs.read(io.StringIO(json.dumps(doc)))
    assert event.engine.source == "a newer source"


def test_events_are_read_one_by_one(runs):
    events = vobs.iter_events(runs)
    assert next(events).run.exit_code == 0
    events.close()


def test_wrong_arguments(runs, tmp_path):
    with pytest.raises(ValueError, match="on_error"):
        vobs.read(runs, on_error="ignore")
    with pytest.raises(FileNotFoundError):
        vobs.read(tmp_path / "missing")


@pytest.mark.parametrize("source", [5, b"x", ["events.jsonl"]])
def test_no_source(source):
    with pytest.raises(TypeError, match="a path, '-' or an open file is needed"):
        vobs.read(source)


def test_full(runs, tmp_path):
    core = vobs.core(vobs.read(runs)[0]).model_dump_json()
    file = tmp_path / "mixed.jsonl"
    file.write_text(core + "\n" + runs.read_text())
    events = vobs.read(file)
    assert isinstance(events[0], vobs.Core)
    assert events.full() == events[1:]


def test_a_warning_names_the_caller(tmp_path):
    file = tmp_path / "damaged.jsonl"
    file.write_text("{\n")
    with pytest.warns(vobs.DamagedWarning) as seen:
        vobs.read(file, on_error="warn")
        list(vobs.iter_events(file, on_error="warn"))
    assert [w.filename for w in seen] == [__file__, __file__]
