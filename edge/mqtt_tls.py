"""TLS to the broker: what must hold before a byte of MQTT is sent, and why a broker was not trusted, in words.

There is no setting that switches a check off: a connection whose other end is not known protects nothing.
"""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from edge.config import MqttSettings
from edge.settings import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def make_context(settings: MqttSettings) -> ssl.SSLContext:
    """A context that checks the broker's certificate and host name. Raises ConfigError that names the file."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=_text(settings.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise _wrong("ca_file", settings.ca_file, "PEM certificates of authorities", error) from error
    context.minimum_version = _VERSIONS[settings.tls_version]
    if settings.cert_file is not None:
        assert settings.key_file is not None  # the settings say so
        refuse_readable_by_others(settings.key_file, "mqtt.key_file")
        try:
            # An empty pass phrase: one that is asked for would wait at a terminal that a service has not.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")  # nosec B106
        except (OSError, ssl.SSLError) as error:
            raise _wrong(
                "cert_file", settings.cert_file, "a PEM certificate, with its key in key_file", error
            ) from error
    return context


def refuse_readable_by_others(path: Path, key: str) -> None:
    """Raises ConfigError where the file cannot be read, or others could read the secret in it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{key} {path}: {error.strerror or error}", key=key) from error
    others = stat.S_IRWXG | stat.S_IRWXO
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if given and Path(given) in path.parents:
        # What systemd hands over (LoadCredential) may carry an access list, which shows as the group's rights.
        others = stat.S_IRWXO
    if os.name == "posix" and mode & others:
        says = f"{key} {path}: mode {stat.S_IMODE(mode):04o} lets others read it; run chmod 600 {path}"
        raise ConfigError(says, key=key)


def tells_secret_in_plain(settings: MqttSettings) -> bool:
    """Whether the password would cross a network unencrypted."""
    return settings.username is not None and not settings.tls and settings.host not in LOOPBACK


def why(error: ssl.SSLError, host: str) -> str:
    """A sentence for a failed handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        says = str(error.verify_message or error)
        if "expired" in says:
            return "its certificate has expired; renew it, or set this machine's clock"
        if "not yet valid" in says:
            return "its certificate is not valid yet; set this machine's clock"
        if "ostname mismatch" in says or "IP address mismatch" in says:
            return f"its certificate is for another host than {host}; connect by the name in it"
        if "self-signed" in says or "self signed" in says or "local issuer" in says:
            return (
                "nobody we trust vouches for its certificate; set mqtt.ca_file to its authority's certificate"
            )
        return f"its certificate is refused: {says}"
    reason = (error.reason or "").upper()
    if "VERSION" in reason or "PROTOCOL" in reason:
        return "it does not speak the TLS version that mqtt.tls_version asks for, or no TLS at all"
    if "CERTIFICATE_REQUIRED" in reason or "ALERT_HANDSHAKE_FAILURE" in reason or "UNKNOWN_CA" in reason:
        return f"it refuses our certificate ({error.reason}); set mqtt.cert_file to one that it knows"
    return f"TLS failed ({error.reason or error})"


def _wrong(name: str, path: Path | None, what: str, error: Exception) -> ConfigError:
    why_not = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return ConfigError(f"mqtt.{name} {path}: cannot be used ({why_not}); give {what}", key=f"mqtt.{name}")


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
