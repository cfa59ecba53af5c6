"""Server contexts of the catalogue, each good or bad in one way; made on the fly."""

import ssl
from pathlib import Path

from tests.transport.servers import _Mint


def certificates(folder: Path) -> dict[str, ssl.SSLContext]:
    """By name; who vouches for the good ones stands in `authority.pem` of that folder."""
    mint = _Mint(folder)
    contexts = {
        "good": mint.context("good"),
        "expired": mint.context("expired", start=-3, end=-1),
        "not yet": mint.context("not_yet", start=1, end=3),
        "other host": mint.context("other_host", names=["other.example"], addresses=[]),
        "self-signed": mint.context("self_signed", issuer="self"),
        "stranger": mint.context("stranger", issuer="stranger"),
        "soon": mint.context("soon", end=2),
        "old": mint.context("old"),
        "mutual": mint.context("mutual"),
    }
    # As old as it gets; even OpenSSL speaks it only where nothing is demanded of it.
    contexts["old"].set_ciphers("ALL:@SECLEVEL=0")
    contexts["old"].minimum_version = contexts["old"].maximum_version = ssl.TLSVersion.TLSv1
    contexts["mutual"].verify_mode = ssl.CERT_REQUIRED
    contexts["mutual"].load_verify_locations(mint.authority_file)
    return contexts
