"""Whoever signs tokens for the tests: keys made by openssl, and what they sign, as JSON Web Tokens."""

import base64
import json
import re

from certificates import openssl

KINDS = {"RS256": ("RSA", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
         "PS256": ("RSA", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
         "ES256": ("P-256", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
         "ES384": ("P-384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
         "ES512": ("P-521", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"])}


def coded(data):
    if not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(head, claims, signature=""):
    return f"{coded(head)}.{coded(claims)}.{signature}"


class Signer:
    def __init__(self, folder, name, algorithm="RS256"):
        self.folder, self.name, self.algorithm = folder, name, algorithm
        self.kind, how = KINDS[algorithm]
        self.key = folder / f"{name}.key"
        openssl("genpkey", *how, "-out", self.key)

    def token(self, claims, head=None):
        """With that instead of what the head usually has; None: without it."""
        head = {"alg": self.algorithm, "kid": self.name, **(head or {})}
        head = {k: v for k, v in head.items() if v is not None}
        text = f"{coded(head)}.{coded(claims)}"
        if head["alg"] == "none":
            return text + "."
        how = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if self.algorithm.startswith("PS") else []
        signature = openssl("dgst", f"-sha{self.algorithm[2:]}", *how, "-sign", self.key, input=text.encode())
        return f"{text}.{coded(signature if self.kind == 'RSA' else raw_signature(signature, self.size()))}"

    def size(self):
        return (int(self.kind.split("-")[1]) + 7) // 8

    def public(self):
        """As a key set has it."""
        text = openssl("pkey", "-in", self.key, "-noout", "-text_pub").decode()
        numbers = bytes.fromhex(re.sub(r"[\s:]", "", re.search(r"(?:Modulus|pub):((?:\s+[0-9a-f:]+)+)", text).group(1)))
        if self.kind == "RSA":
            return {"kty": "RSA", "kid": self.name, "n": coded(numbers.lstrip(b"\0")), "e": "AQAB"}
        return {"kty": "EC", "kid": self.name, "crv": self.kind, "x": coded(numbers[1:1 + self.size()]), "y": coded(numbers[1 + self.size():])}


def raw_signature(der, size):
    """The two numbers of what openssl writes, one behind the other."""
    out, at = b"", 3 if der[1] & 0x80 else 2
    for _ in range(2):
        length = der[at + 1]
        out += der[at + 2:at + 2 + length].lstrip(b"\0").rjust(size, b"\0")
        at += 2 + length
    return out


def key_set(*signers):
    return json.dumps({"keys": [s.public() for s in signers]})
