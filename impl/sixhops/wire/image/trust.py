"""JSON documents signed in place, as schema1 manifests are: libtrust's keys and "pretty" JSON web signatures.

The signature stands inside the document that it signs, as a last member `signatures`. What is signed is the
document without that member, byte for byte; each signature's protected header says how to get those bytes
back: keep the first `formatLength` bytes, then append `formatTail`. All signatures of a document must agree
on that.

The bytes signed are `base64url(protected) "." base64url(payload)` with ES256 (RFC 7518, 3.4: R and S, 32
bytes each). Format: distribution's "Image Manifest V2, Schema 1", "Signed Manifests"; key ids: libtrust's
key_id. Signing here is deterministic (RFC 6979 nonces, and the caller gives the time), because recipes must
build to equal bytes.
"""

# cryptography is imported when it is needed: it takes 8 MiB, and hardly an image is signed this way any more.
# ruff: noqa: PLC0415

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_FIELD = 32
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-4 D.1.2.3
_INDENT = re.compile(rb"\{\r?\n([ \t]+)")


class SignatureError(ValueError):
    """A signed document is torn, or a signature in it does not hold."""


@dataclass(frozen=True, slots=True)
class TrustKey:
    """A P-256 key pair with libtrust's name for it."""

    private: ec.EllipticCurvePrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> TrustKey:
        """Return the key that `seed` always gives; for test images, never for secrets."""
        from cryptography.hazmat.primitives.asymmetric import ec

        scalar = int.from_bytes(hashlib.sha512(seed).digest(), "big") % (_ORDER - 1) + 1
        return cls(ec.derive_private_key(scalar, ec.SECP256R1()))

    def public_document(self) -> dict[str, str]:
        """Return the public key as a JSON web key with `kid`."""
        numbers = self.private.public_key().public_numbers()
        return {
            "crv": "P-256",
            "kid": key_id(self.private.public_key()),
            "kty": "EC",
            "x": _encode(numbers.x.to_bytes(_FIELD, "big")),
            "y": _encode(numbers.y.to_bytes(_FIELD, "big")),
        }


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """Return libtrust's key id: 240 bits of the SHA-256 of the DER key, base32, in twelve groups of four."""
    from cryptography.hazmat.primitives import serialization

    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


def sign_pretty(payload: bytes, key: TrustKey, time: str) -> bytes:
    """Return `payload`, a JSON object, with a `signatures` member; `time` is RFC 3339 text.

    Raises SignatureError when the payload is no JSON object with at least one member.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    body = payload.rstrip()
    if not body.startswith(b"{") or not body.endswith(b"}"):
        raise SignatureError("only a JSON object can be signed in place")
    kept = body[:-1].rstrip()
    if kept == b"{":
        raise SignatureError("an empty object can't be signed in place")
    protected = _encode(
        json.dumps(
            {"formatLength": len(kept), "formatTail": _encode(payload[len(kept) :]), "time": time},
            separators=(",", ":"),
        ).encode()
    )
    der = key.private.sign(
        f"{protected}.{_encode(payload)}".encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    )
    r, s = decode_dss_signature(der)
    signatures = [
        {
            "header": {"jwk": key.public_document(), "alg": "ES256"},
            "signature": _encode(r.to_bytes(_FIELD, "big") + s.to_bytes(_FIELD, "big")),
            "protected": protected,
        }
    ]
    found = _INDENT.match(payload)
    if found is None:
        return kept + b',"signatures":' + json.dumps(signatures, separators=(",", ":")).encode() + b"}"
    indent = found[1].decode()
    text = json.dumps(signatures, indent=indent).replace("\n", "\n" + indent)
    return kept + f',\n{indent}"signatures": {text}\n}}'.encode()


def verify_pretty(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the signed payload and the ids of the keys that signed it, after checking every signature.

    Raises SignatureError: no signatures, torn payload, unknown algorithm, wrong key or signature.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        document = json.loads(data)
    except ValueError as error:
        raise SignatureError(f"not JSON: {error}") from error
    signatures = document.get("signatures") if isinstance(document, dict) else None
    if not isinstance(signatures, list) or not signatures:
        raise SignatureError("no signatures")
    payloads: set[bytes] = set()
    keys: list[str] = []
    for at, signature in enumerate(signatures):
        try:
            payload, kid = _verify(data, signature)
        except (KeyError, TypeError, ValueError, InvalidSignature) as error:
            raise SignatureError(
                f"signatures[{at}]: {str(error) or 'the signature does not hold'}"
            ) from error
        payloads.add(payload)
        keys.append(kid)
    if len(payloads) != 1:
        raise SignatureError("the signatures disagree on what they sign")
    return payloads.pop(), tuple(keys)


def _verify(data: bytes, signature: dict[str, Any]) -> tuple[bytes, str]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    protected = json.loads(_decode(signature["protected"]))
    length = protected["formatLength"]
    if not isinstance(length, int) or not 0 < length <= len(data):
        raise SignatureError("formatLength lies outside of the document")
    payload = data[:length] + _decode(protected["formatTail"])
    header = signature["header"]
    if header["alg"] != "ES256":
        raise SignatureError(f"unknown algorithm {header['alg']!r}")
    jwk = header["jwk"]
    if (jwk["kty"], jwk["crv"]) != ("EC", "P-256"):
        raise SignatureError("the key is not on P-256")
    x, y = (int.from_bytes(_decode(jwk[name]), "big") for name in ("x", "y"))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    if jwk["kid"] != key_id(key):
        raise SignatureError("kid is not the id of the key")
    raw = _decode(signature["signature"])
    if len(raw) != 2 * _FIELD:
        raise SignatureError("an ES256 signature is 64 bytes")
    der = encode_dss_signature(int.from_bytes(raw[:_FIELD], "big"), int.from_bytes(raw[_FIELD:], "big"))
    key.verify(der, f"{signature['protected']}.{_encode(payload)}".encode(), ec.ECDSA(hashes.SHA256()))
    # The bytes cut out must be nothing but the signatures: else unsigned members could ride along.
    unsigned = json.loads(data)
    unsigned.pop("signatures")
    if json.loads(payload) != unsigned:
        raise SignatureError("the document holds members that are not signed")
    return payload, str(jwk["kid"])


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise SignatureError(f"not base64url: {error}") from error
