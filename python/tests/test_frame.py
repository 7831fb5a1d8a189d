"""Data frames of events."""

import io
import json
import sys

import pytest

import vobs


def test_without_pandas(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install 'pandas>=2'"):
        vobs.read(runs).to_frame()


def test_a_row_per_event(runs):
    pandas = pytest.importorskip("pandas")
    events = vobs.read(runs)
    frame = events.to_frame()
    assert len(frame) == 16
    assert frame.columns.is_unique
    assert frame["gpus.0.peak_bytes"].tolist() == [e.gpus[0].peak_bytes for e in events]
    assert frame["engine.kv_cache.usage.peak"].tolist() == [e.engine.kv_cache.usage.peak for e in events]
    assert frame["run.labels.ab.side"].nunique() == 2
    assert pandas.api.types.is_datetime64_any_dtype(frame["run.started_at"])
    assert str(frame["run.started_at"].dt.tz) == "UTC"
    assert frame["validity"][0] == [note.code for note in events[0].validity]
    assert not [c for c in frame.columns if c.startswith(("series", "unavailable"))]
    assert frame["engine.kv_cache.usage.peak"].dtype == "float64"


def test_a_group_that_is_null_has_no_column(example):
    pytest.importorskip("pandas")
    doc = json.loads(example.read_text())
    without = dict(doc, engine=None, gpus=None)
    frame = vobs.read(io.StringIO(json.dumps(doc) + "\n" + json.dumps(without))).to_frame()
    assert "engine" not in frame and "gpus" not in frame
    assert frame["engine.source"].isna().tolist() == [False, True]


def test_labels_with_dots(example):
    pytest.importorskip("pandas")
    doc = json.loads(example.read_text())
    doc["run"]["labels"] = {"a": "1", "a.b": "2"}
    frame = vobs.read(io.StringIO(json.dumps(doc))).to_frame()
    assert frame["run.labels.a"][0] == "1" and frame["run.labels.a.b"][0] == "2"


def test_the_core_and_no_events():
    pytest.importorskip("pandas")
    assert len(vobs.frame([])) == 0
    frame = vobs.frame([vobs.Core(peak_vram_gb=1)])
    assert frame["peak_vram_gb"].tolist() == [1.0]
