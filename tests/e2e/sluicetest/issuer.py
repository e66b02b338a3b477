"""A token issuer: its own keys, a JWK Set file, tokens minted as asked, good or bad."""

import base64
import json
import os
import re
import subprocess
import time

from .util import run


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _openssl(*args, data=None):
    return subprocess.run(["openssl", *args], input=data, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE).stdout


def _der_to_raw(der):
    """An ECDSA signature as JWS wants it: r and s, 32 bytes each (RFC 7518 section 3.4)."""
    def integer(at):
        assert der[at] == 2
        n = der[at + 1]
        return int.from_bytes(der[at + 2:at + 2 + n], "big"), at + 2 + n
    r, at = integer(2)
    s, _ = integer(at)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Key:
    def __init__(self, folder, kid, alg):
        self.kid, self.alg = kid, alg
        self.path = os.path.join(folder, f"{kid}.pem")
        kind = (["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if alg == "ES256"
                else ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        run(["openssl", "genpkey", *kind, "-out", self.path])
        os.chmod(self.path, 0o600)

    def jwk(self):
        text = _openssl("pkey", "-in", self.path, "-noout", "-text_pub").decode()
        jwk = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if self.alg == "ES256":
            point = bytes.fromhex(re.sub(r"[\s:]", "", text.partition("pub:")[2].partition("ASN1")[0]))
            jwk.update(kty="EC", crv="P-256", x=b64(point[1:33]), y=b64(point[33:65]))
        else:
            hexed = re.sub(r"[\s:]", "", text.partition("Modulus:")[2].partition("Exponent")[0])
            jwk.update(kty="RSA", n=b64(bytes.fromhex(hexed).lstrip(b"\0")), e="AQAB")
        return jwk

    def sign(self, data):
        signature = _openssl("dgst", "-sha256", "-sign", self.path, data=data)
        return _der_to_raw(signature) if self.alg == "ES256" else signature


class Issuer:
    def __init__(self, folder, name="https://issuer.test"):
        self.name = name
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.es = Key(folder, "es-1", "ES256")
        self.rs = Key(folder, "rs-1", "RS256")
        # One that the JWK Set does not have.
        self.rogue = Key(folder, "rogue-1", "ES256")
        self.jwks = os.path.join(folder, "jwks.json")
        with open(self.jwks, "w", encoding="ascii") as f:
            json.dump({"keys": [self.es.jwk(), self.rs.jwk()]}, f, indent=1)

    def token(self, sub="support-agent-7", aud="sluice", groups=("support",), lifetime=3600, key=None,
              kid=None, header=None, drop=(), **claims):
        """A compact JWS. Anything can be made wrong: key, kid, header, claims, a claim left out."""
        key = key or self.es
        now = int(time.time())
        body = {"iss": self.name, "sub": sub, "aud": aud, "iat": now, "nbf": now - 5,
                "exp": now + lifetime, "groups": list(groups), "jti": os.urandom(8).hex(), **claims}
        for name in drop:
            del body[name]
        head = {"alg": key.alg, "typ": "JWT", "kid": kid or key.kid, **(header or {})}
        signed = b64(json.dumps(head).encode()) + "." + b64(json.dumps(body).encode())
        return signed + "." + b64(key.sign(signed.encode()))


def main():
    """python3 -m sluicetest.issuer DIR [sub=…] [lifetime=…] [key=rogue]: for the demo."""
    import sys
    folder, options = sys.argv[1], dict(a.split("=", 1) for a in sys.argv[2:])
    if not os.path.exists(os.path.join(folder, "jwks.json")):
        Issuer(folder)
    issuer = Issuer.__new__(Issuer)
    issuer.name = "https://issuer.test"
    for attr, kid, alg in (("es", "es-1", "ES256"), ("rogue", "rogue-1", "ES256")):
        key = Key.__new__(Key)
        key.kid, key.alg, key.path = kid, alg, os.path.join(folder, f"{kid}.pem")
        setattr(issuer, attr, key)
    if not options:
        return
    kw = {"sub": options.get("sub", "support-agent-7"), "lifetime": int(options.get("lifetime", 3600))}
    if "key" in options:
        kw["key"] = getattr(issuer, options["key"])
        kw["kid"] = "es-1"
    print(issuer.token(**kw))


if __name__ == "__main__":
    main()
