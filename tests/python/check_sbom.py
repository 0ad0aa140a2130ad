"""check_sbom.py: packaging/sbom.sh of each program, for Linux and illumos, against the schema of CycloneDX and Cargo.lock."""

import json
import subprocess
import sys
import tomllib

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

PROGRAMS = ["zonescope-generator", "zonescope-collector-columnar", "zonescope-collector-redis"]
# A part that a program has for sure, and one that it has not.
KNOWN = {
    "zonescope-generator": ("prost", "datafusion"),
    "zonescope-collector-columnar": ("datafusion", "redis"),
    "zonescope-collector-redis": ("redis", "datafusion"),
}


def sbom(program, platform):
    command = ["sh", "packaging/sbom.sh", program, platform, "0.1.0", "1700000000"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


with open("Cargo.lock", "rb") as lock:
    locked = {f"pkg:cargo/{p['name']}@{p['version']}": p.get("checksum") for p in tomllib.load(lock)["package"]}

for program in PROGRAMS:
    for platform in ["x86_64-linux", "x86_64-illumos"]:
        text = sbom(program, platform)
        assert text == sbom(program, platform), "the same tree, other bytes"
        wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
        assert wrong is None, wrong
        bom = json.loads(text)
        parts = {part["purl"]: part for part in bom["components"]}
        names = {part["name"] for part in bom["components"]}
        known, foreign = KNOWN[program]
        assert known in names and foreign not in names, program
        assert ("kstat-rs" in names) == (program == "zonescope-generator" and platform == "x86_64-illumos")
        for purl, part in parts.items():
            assert purl in locked, purl
            assert part.get("hashes", [{}])[0].get("content") == locked[purl], purl
            assert part["licenses"], purl
        # Every reference is to something that is there, and everything but the program itself is needed by something.
        needed = {ref for one in bom["dependencies"] for ref in one["dependsOn"]}
        assert needed == set(parts), needed ^ set(parts)
        print(f"{program} {platform}: {len(parts)} parts")

# The check can fail.
if JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace("SHA-256", "SHA-257")) is None:
    sys.exit("a wrong document should be found out")
