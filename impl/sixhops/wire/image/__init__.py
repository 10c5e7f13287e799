"""Image documents: manifests, lists, configurations, digests and schema1 signatures.

Rule 1: no I/O here; bytes go in, values come out, and the other way round.
Rule 2: nothing here knows whether a registry, an engine or the harness uses it.

A digest is always taken of the exact bytes that travel, so every document keeps (or returns) those bytes and
is never encoded a second time in order to be named.
"""

from sixhops.wire.image.convert import schema1_of
from sixhops.wire.image.digest import Digest, chain_ids, digest_of, is_digest, is_registered_digest, short
from sixhops.wire.image.documents import (
    Descriptor,
    DocumentError,
    Index,
    Manifest,
    Platform,
    RootFs,
    encode,
    parse_config,
    parse_index,
    parse_manifest,
)
from sixhops.wire.image.layout import Layout
from sixhops.wire.image.schema1 import (
    EMPTY_LAYER,
    EMPTY_LAYER_DIGEST,
    Schema1,
    config_of,
    parse_schema1,
    schema1_payload,
)
from sixhops.wire.image.trust import SignatureError, TrustKey, sign_pretty, verify_pretty

__all__ = [
    "EMPTY_LAYER",
    "EMPTY_LAYER_DIGEST",
    "Descriptor",
    "Digest",
    "DocumentError",
    "Index",
    "Layout",
    "Manifest",
    "Platform",
    "RootFs",
    "Schema1",
    "SignatureError",
    "TrustKey",
    "chain_ids",
    "config_of",
    "digest_of",
    "encode",
    "is_digest",
    "is_registered_digest",
    "parse_config",
    "parse_index",
    "parse_manifest",
    "parse_schema1",
    "schema1_of",
    "schema1_payload",
    "short",
    "sign_pretty",
    "verify_pretty",
]
