#!/usr/bin/env bash
# Validates the SBOMs in dist with CycloneDX's own schema.
set -euo pipefail
cd "$(dirname "$0")/.."
version=11.12.0
place=.e2e/cyclonedx-python-lib-$version
ls dist/vobs_*.cdx.json >/dev/null || { echo "check_sbom: no SBOM: make dist first" >&2; exit 1; }
if [ ! -e "$place/done" ]; then
	rm -rf "$place"
	python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --target "$place" "cyclonedx-python-lib[json-validation]==$version" ||
		{ echo "SKIPPED: check_sbom: cyclonedx-python-lib $version cannot be installed: it needs python3 with pip, and PyPI" >&2; exit 0; }
	touch "$place/done"
fi
PYTHONPATH=$place python3 - dist/vobs_*.cdx.json <<'PYTHON'
import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        text = file.read()
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"{name}: {error}")
    print(f"{name}: valid CycloneDX 1.6, {len(json.loads(text)['components'])} components")
PYTHON
