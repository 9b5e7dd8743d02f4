"""TLS of the bridge's connection to a broker. (The agent has its own in edge, which says more of what is wrong.)"""

from __future__ import annotations

import ssl
from pathlib import Path

from firmware_bridge.errors import BrokerError, KeyFileError


def make_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 at least; certificate and host name are always checked, by the system's authorities unless told.

    Raises:
        BrokerError: a file that is not what it should be.
        KeyFileError: a private key that others can read.
    """
    if (cert_file is None) != (key_file is None):
        raise BrokerError("a certificate and its key belong together: give --cert-file and --key-file")
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert_file is not None and key_file is not None:
            mode = key_file.stat().st_mode & 0o777
            if mode & 0o077:
                raise KeyFileError(
                    f"{key_file}: mode {mode:04o} lets others read the key: chmod 600 {key_file}"
                )
            # An empty pass phrase: one that is asked for would wait at a terminal that a service has not.
            context.load_cert_chain(cert_file, key_file, password="")  # nosec B106
    except OSError as error:  # SSLError is one
        names = ", ".join(str(path) for path in (ca_file, cert_file, key_file) if path is not None)
        reason = getattr(error, "reason", None) or error.strerror or error
        raise BrokerError(f"{names}: cannot be used for TLS ({reason}); give PEM files") from error
    return context
