"""The files of ``--tls-cert-file`` and ``--tls-key-file``: looked at before anything starts. Called by ``serve.py``.

What is wrong is one line that names the file. OpenSSL reads them as the workers will, and never asks for a password.
"""

import ssl
from pathlib import Path


class CannotUse(Exception):
    """One line for people: which file, what it lacks, what to do."""


class _Encrypted(Exception):
    """A password would be needed."""


def check_certificate(cert_file: Path | None, key_file: Path | None) -> None:
    """Both or neither, readable, and made for each other; or ``CannotUse``."""
    if cert_file is None and key_file is None:
        return
    if cert_file is None:
        raise CannotUse(f"--tls-key-file {key_file}: its certificate is missing; name it with --tls-cert-file FILE")
    if key_file is None:
        raise CannotUse(f"--tls-cert-file {cert_file}: its key is missing; name it with --tls-key-file FILE")
    cert = _read("--tls-cert-file", cert_file)
    _read("--tls-key-file", key_file)
    if not _has_certificates(cert_file, cert):
        raise CannotUse(f"--tls-cert-file {cert_file}: there is no certificate in PEM format in it")
    _load(cert_file, key_file)


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotUse(f"{option} {file}: it cannot be read: {why}; name a file that this user may read") from None


def _has_certificates(file: Path, text: bytes) -> bool:
    if b"-----BEGIN CERTIFICATE-----" not in text:
        return False
    try:
        ssl.create_default_context().load_verify_locations(cafile=file)
    except ssl.SSLError:
        return False
    return True


def _load(cert_file: Path, key_file: Path) -> None:
    """The two together, with the checks of OpenSSL: of the key, and of its strength."""

    def no_password() -> str:
        raise _Encrypted

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert_file, key_file, no_password)
    except _Encrypted:
        how = f"openssl pkey -in {key_file} -out FILE"
        raise CannotUse(f"--tls-key-file {key_file}: the key is encrypted; decrypt it: {how}") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"the key is not the one of the certificate in {cert_file}; name the two that belong together"
        elif error.reason is not None and error.reason.endswith("_TOO_SMALL"):
            why = f"it is too short for OpenSSL, or the one in {cert_file} is; make a longer one"
        else:
            why = "there is no private key in PEM format in it"
        raise CannotUse(f"--tls-key-file {key_file}: {why}") from None
