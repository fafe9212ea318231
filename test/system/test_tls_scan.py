"""
An encrypted listener as testssl.sh sees it, who looks for weak protocols and suites and tries the known attacks. It takes minutes: with
BARNABAS_TLS_SCAN=1, where testssl.sh is (the package of that name).
"""

import json
import os
import shutil
import subprocess

import pytest
from test_security import authority, protected, server_keys, stores  # noqa: F401 (fixtures)

SCANNER = shutil.which("testssl") or shutil.which("testssl.sh")
PARTS = ["--protocols", "--std", "--fs", "--server-preference", "--server-defaults", "--vulnerable"]
FINE = {"OK", "INFO", "LOW", "DEBUG"}  # LOW: the suites with CBC, which Java has, too
OF_THE_TESTS = {"cert_expirationStatus", "cert_notAfter", "cert_revocation",  # their certificates live for three days
                "sessionresumption_ticket"}  # the scanner may have left before the ticket comes


@pytest.mark.long
@pytest.mark.skipif("BARNABAS_TLS_SCAN" not in os.environ or SCANNER is None, reason="it takes minutes")
def test_a_scanner_finds_nothing(make_broker, authority, server_keys, tmp_path):  # noqa: F811
    broker, found = protected(make_broker, "SSL", keys=stores(server_keys, authority)), tmp_path / "found.json"
    said = subprocess.run([SCANNER, "--quiet", "--color", "0", "--warnings", "batch", "--ip", "127.0.0.1", "--openssl", shutil.which("openssl"),
                           "--add-ca", authority.certificate, "--jsonfile", found, *PARTS, broker.listener.bootstrap], capture_output=True, text=True)
    results = json.loads(found.read_text())
    assert {"TLS1_2", "TLS1_3", "heartbleed", "secure_client_renego", "LUCKY13"} <= {x["id"] for x in results}, said.stdout + said.stderr
    bad = [f"{x['severity']} {x['id']}: {x['finding']}" for x in results if x["severity"] not in FINE and x["id"] not in OF_THE_TESTS]
    assert not bad, "\n".join(bad)
