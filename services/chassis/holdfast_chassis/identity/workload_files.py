"""The files of a workload's directory, under the names that Kubernetes and cert-manager give."""

CERTIFICATE, KEY = "tls.crt", "tls.key"
AUTHORITIES = "ca.crt"
"""The authorities that issue the certificates of the other workloads."""
