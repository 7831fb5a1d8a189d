"""The models agree with the JSON Schema and with NeMo Safe Synthesizer's model."""

import json
import subprocess
import sys
import typing

import pydantic
import pytest

import vobs
from vobs import models

EMPTY_CORE = (
    '{"peak_vram_gb":null,"kv_cache_usage_perc":null,"prefix_cache_hit_rate":null,"spec_accept_rate":null,'
    '"loadavg_pre":null,"loadavg_post":null,"engine_runtime_config":{},"flag_did_not_engage":false}'
)


def keys(model):
    return {field.alias or name for name, field in model.model_fields.items()}


def required(model):
    return {f.alias or name for name, f in model.model_fields.items() if f.is_required()}


def test_every_object_of_the_schema_is_a_model(schema):
    doc = json.loads(schema.read_text())
    objects = {**doc["$defs"], doc["title"]: doc}
    assert len(objects) > 50
    for name, definition in objects.items():
        model = getattr(models, name)
        assert keys(model) == set(definition.get("properties", {})), name
        if name != "Core":
            assert required(model) == set(definition.get("required", [])), name
        assert model.__doc__, name


def test_an_event_is_the_same_after_a_round_trip(runs, example):
    documents = [json.loads(line) for line in runs.read_text().splitlines()]
    documents.append(json.loads(example.read_text()))
    for doc in documents:
        event = models.GenerationObservability.model_validate(doc)
        assert json.loads(event.model_dump_json(by_alias=True, exclude_unset=True)) == doc


def test_unknown_keys_are_kept(example):
    doc = json.loads(example.read_text())
    doc["news"] = 1
    doc["run"]["news"] = {"a": [1]}
    event = models.GenerationObservability.model_validate(doc)
    assert event.model_extra == {"news": 1}
    assert event.run.model_extra == {"news": {"a": [1]}}


def test_a_keyword_of_python_has_an_underscore():
    field = models.ClientTokens.model_fields["from_"]
    assert field.alias == "from"


def test_the_core_is_that_of_nemo():
    assert list(vobs.Core.model_fields) == list(json.loads(EMPTY_CORE))
    assert vobs.Core().model_dump_json() == EMPTY_CORE
    core = vobs.Core(peak_vram_gb=64, loadavg_pre=[1, 2, 3], engine_runtime_config={"anything": 1})
    assert core.peak_vram_gb == 64.0 and core.loadavg_pre == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "doc",
    [{"peak_vram_gib": 1}, {"loadavg_pre": [1, 2]}, {"flag_did_not_engage": None}, {"engine_runtime_config": None}],
)
def test_the_core_refuses(doc):
    with pytest.raises(pydantic.ValidationError):
        vobs.Core.model_validate(doc)


def test_core_of_an_event(example):
    event = vobs.read(example)[0]
    core = vobs.core(event)
    doc = json.loads(example.read_text())
    assert json.loads(core.model_dump_json()) == {key: doc[key] for key in vobs.Core.model_fields}
    assert vobs.core(core) is core


def test_the_package_is_typed():
    hints = typing.get_type_hints(vobs.read)
    assert typing.get_origin(hints["return"]) is vobs.Events


def test_import_needs_neither_pandas_nor_the_binary():
    code = "import sys; sys.modules['pandas'] = None; import vobs; vobs.Core()"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "", "PYTHONPATH": ":".join(sys.path)})


def test_without_pydantic():
    code = """
import sys
sys.modules["pydantic"] = None
import vobs, vobs.__main__
try:
    vobs.read
except ImportError as e:
    print(e)
try:
    vobs.nothing
except AttributeError as e:
    print(e)
"""
    env = {"PYTHONPATH": ":".join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], check=True, env=env, stdout=subprocess.PIPE, text=True)
    assert out.stdout == (
        "reading events needs pydantic: pip install 'pydantic>=2.7,<3'\nmodule 'vobs' has no attribute 'nothing'\n"
    )


def test_all_names_exist():
    assert all(getattr(vobs, name) is not None for name in vobs.__all__)
    assert dir(vobs) == sorted(vobs.__all__)
