"""The network settings of the environment: proxies and trusted certificates."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omniagent_cli.agent.models.providers import is_loopback
from omniagent_cli.errors import ModelUnreachable
from omniagent_cli.masking import mask_url
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    import ssl


def proxy_for(url: str) -> str:
    """Return the proxy of requests to a URL, with its variable; empty if there is none."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    key = next((key for key in (parts.scheme, "all") if proxies.get(key)), "")
    if not key or is_loopback(url) or proxy_bypass(host) or _in_network(host, proxies.get("no")):
        return ""
    named = [name for name in (f"{key}_proxy", f"{key}_proxy".upper()) if os.environ.get(name)]
    origin = f" of {named[0].upper()}" if named else ""
    return f"the proxy {one_line(mask_url(proxies[key]))}{origin}"


def _in_network(host: str, no_proxy: str | None) -> bool:
    """Return True for an address in a network of NO_PROXY, which `urllib.request` does not support."""
    for entry in (no_proxy or "").split(","):
        with suppress(ValueError):
            if "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip()):
                return True
    return False


def tls_context() -> ssl.SSLContext | None:
    """Return a context that trusts the certificates of SSL_CERT_FILE or SSL_CERT_DIR; None if neither is set.

    Libraries read these variables too, but not with ``trust_env=False``, which local servers need.

    Raises:
        ModelUnreachable: the file is unusable, or SSLKEYLOGFILE is not writable.
    """
    import ssl

    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    key_log = os.environ.get("SSLKEYLOGFILE")
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    variable = ("SSL_CERT_FILE", file)
    try:
        if file:
            probe.load_verify_locations(cafile=file)
        variable = ("SSLKEYLOGFILE", key_log)
        if key_log:
            probe.keylog_filename = key_log
    except OSError as error:
        why = "contains no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ModelUnreachable(
            f"cannot use {variable[0]}={one_line(variable[1] or '')} ({why}); correct or unset it"
        ) from error
    if file or directory:
        return ssl.create_default_context(cafile=file or None, capath=directory or None)
    return None
