"""Keys and certificates for the tests, made by openssl."""

import subprocess
from pathlib import Path


def openssl(*args, **kwargs):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, **kwargs).stdout


class Authority:
    """Signs certificates; what it makes lies in its folder, as PEM."""

    def __init__(self, folder, name="ca"):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.key, self.certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def issue(self, name, subject=None, hosts=("DNS:localhost", "IP:127.0.0.1"), days=3):
        """A key and a certificate in one file: what ssl.keystore.location of type PEM names."""
        key, request, signed, both = (self.folder / f"{name}.{end}" for end in ("key", "csr", "crt", "both.pem"))
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-utf8", "-subj", subject or f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(hosts)}\n" if hosts else "basicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", signed)
        both.write_text(key.read_text() + signed.read_text())
        return both
