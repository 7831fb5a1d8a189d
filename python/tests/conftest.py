from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runs() -> Path:
    """Sixteen events as JSON lines."""
    return ROOT / "testdata/compare/runs.jsonl"


@pytest.fixture
def example() -> Path:
    """One event, indented."""
    return ROOT / "testdata/events/example.json"


@pytest.fixture
def schema() -> Path:
    return ROOT / "schema/event.schema.json"
