"""Certificates for tests, as a certificate manager would write them."""

import subprocess


def write_certificate(directory, name="localhost"):
    """Writes tls.crt and tls.key, and returns the certificate. What was there is replaced, each file at once."""
    new = [directory / "new.crt", directory / "new.key"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", new[1], "-out", new[0], "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    new[1].rename(directory / "tls.key")
    new[0].rename(directory / "tls.crt")
    return (directory / "tls.crt").read_bytes()
