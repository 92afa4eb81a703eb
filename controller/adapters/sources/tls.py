"""TLS contexts of sources: the system's trust, or what a Secret says in its place."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path

from controller import errors
from controller.model.secret import Credentials


def context(extra_ca_file: Path | None = None, credentials: Credentials | None = None) -> ssl.SSLContext:
    """Return a verifying context. Raises DependencyNotReady where the Secret's certificates cannot be used.

    Not `ssl.create_default_context`: it would write session keys to where SSLKEYLOGFILE says.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    if credentials is None or credentials.ca_pem is None:
        made.load_default_certs()
    else:
        _load(lambda: made.load_verify_locations(cadata=credentials.ca_pem), "ca.crt")
    if extra_ca_file is not None:
        made.load_verify_locations(cafile=extra_ca_file)
    if credentials is not None and credentials.certificate_pem is not None and credentials.key_pem is not None:
        _load_client(made, credentials.certificate_pem, credentials.key_pem)
    return made


def _load_client(made: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes) -> None:
    """OpenSSL reads client certificates from files only: this one is in memory and has no name."""
    fd = os.memfd_create("goldmaster-tls", os.MFD_CLOEXEC)
    try:
        os.write(fd, certificate_pem.rstrip() + b"\n" + key_pem)
        # an encrypted key must not make OpenSSL ask whoever sits at the terminal
        _load(lambda: made.load_cert_chain(f"/proc/self/fd/{fd}", password=lambda: b""), "tls.crt and tls.key")
    finally:
        os.close(fd)


def _load(load: Callable[[], None], what: str) -> None:
    try:
        load()
    except (ssl.SSLError, ValueError):
        pass  # what OpenSSL and Python say of a bad key may repeat it
    else:
        return
    raise errors.DependencyNotReady(f"the Secret's {what} cannot be used: PEM, a key without passphrase that fits")
