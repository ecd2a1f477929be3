"""The published JSON Schema, and the documents it describes."""

import importlib
import json
from pathlib import Path

import jsonschema
import pytest

from audit_agent import engine, plugins
from audit_agent.model import HostReport, Unreachable

PUBLISHED = Path(__file__).parents[2] / "reports" / "results.schema.json"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def test_the_published_schema_is_the_one_of_the_code():
    current = importlib.import_module("audit_agent.reports.json").schema()
    assert PUBLISHED.read_bytes() == current, (
        "write json.schema() of audit_agent.reports to reports/results.schema.json; "
        "a change that breaks readers needs audit-agent/results/2"
    )


def test_rendered_documents_validate(sample, validator):
    lost = (Unreachable("db1", "10.0.0.7", "refused", "connection refused"),)
    document = json.loads(
        plugins.renderer("json")(sample.make(hosts=2, unreachable=lost, clock="host"), "zh")
    )
    validator.validate(document)
    assert document["schema"] == "audit-agent/results/1"
    assert len(document["hosts"][0]["findings"]) == len(sample.findings)


def test_real_findings_validate(sample, validator, make_evidence):
    evidence = make_evidence({"file:/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"})
    findings = engine.audit(evidence, plugins.checks())
    host = HostReport(evidence, sample.sha, "Debian", findings)
    results = sample.make()
    results = type(results)(
        **{name: getattr(results, name) for name in results.__struct_fields__} | {"hosts": (host,)}
    )
    validator.validate(json.loads(plugins.renderer("json")(results, "en")))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema"], "audit-agent/results/2"),
        (["started_at"], 5),
        (["hosts", 0, "evidence_sha256"], "abc"),
        (["hosts", 0, "findings", 0, "status"], "ok"),
        (["hosts", 0, "findings", 0, "severity"], "bad"),
        (["hosts", 0, "findings", 0, "title"], "only one language"),
    ],
)
def test_the_schema_refuses_what_is_not_a_document(sample, validator, path, value):
    document = json.loads(plugins.renderer("json")(sample.make(), "en"))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)
