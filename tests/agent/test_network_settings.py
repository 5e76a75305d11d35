"""What the environment and the provider say about the way to it: certificates, proxies, waits, short keys."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from omniagent_cli.agent.events import ModelSettings, Retrying
from omniagent_cli.agent.models.chat_completions import ChatCompletionsEngine
from omniagent_cli.agent.models.discovery import list_models
from omniagent_cli.agent.models.failures import error_message
from omniagent_cli.agent.models.limits import retry_after
from omniagent_cli.agent.models.network import proxy_for
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.errors import ConfigError, ModelUnreachable
from tests.agent.asking import ask, engine_for
from tests.servers.chat_server import ChatServer, answer, status

ONCE = ModelSettings(max_retries=0)
ELSEWHERE = "https://api.example/v1"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Take away the proxies of the environment."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY".upper(), raising=False)


@pytest.fixture
def private(tmp_path):
    """A server with a certificate that only itself vouches for, and that certificate as a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = ChatServer(answer("ok"))
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    with server:
        yield server.url.replace("http:", "https:"), tmp_path / "ca.pem"


def failure(url, provider="vllm", error=ModelUnreachable):
    """Return what an engine says that cannot get to its server."""
    engine = ChatCompletionsEngine(Endpoint(PROVIDERS[provider], "m", url, "key-of-a-test"))
    with pytest.raises(error) as raised:
        ask(engine, settings=ONCE)
    return str(raised.value)


def test_a_private_certificate_on_this_machine(private, monkeypatch):
    """SSL_CERT_FILE is used for https on loopback, for answers and for the list of models."""
    url, certificates = private
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    endpoint = Endpoint(PROVIDERS["vllm"], "m", url)
    assert ask(ChatCompletionsEngine(endpoint))[-1].text == "ok"
    assert list_models(PROVIDERS["vllm"], base_url=url) == ["fake-1"]


def test_a_certificate_that_nothing_vouches_for(private, monkeypatch, tmp_path):
    """An unknown certificate names the variable: to be set, or with the file that does not help."""
    url, _ = private
    unknown = f"cannot verify the certificate of {url}; "
    assert failure(url) == f"{unknown}install the system's CA certificates or set SSL_CERT_FILE"
    with pytest.raises(ModelUnreachable, match="cannot verify"):
        list_models(PROVIDERS["vllm"], base_url=url)
    other = ssl.get_default_verify_paths().cafile or ""
    (tmp_path / "other.pem").write_bytes(_other_certificate())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    assert (
        failure(url) == f"{unknown}SSL_CERT_FILE={tmp_path / 'other.pem'} does not contain its CA"
    )
    assert other != str(tmp_path / "other.pem")


def _other_certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(2)
    builder = builder.public_key(key.public_key()).not_valid_before(now)
    made = builder.not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM)


USELESS = {
    "missing": ("SSL_CERT_FILE", "missing.pem", "No such file or directory"),
    "directory": ("SSL_CERT_FILE", ".", "Is a directory"),
    "no certificate": ("SSL_CERT_FILE", "notes.txt", "contains no certificate"),
    "key log": ("SSLKEYLOGFILE", "missing/log", "No such file or directory"),
}


@pytest.mark.parametrize(("variable", "name", "why"), USELESS.values(), ids=USELESS)
@pytest.mark.parametrize("url", [ELSEWHERE, "https://127.0.0.1:1/v1"])
def test_files_that_cannot_be_used(monkeypatch, tmp_path, url, variable, name, why):
    """A useless file is one line that names it, also for the list of models, and no crash."""
    (tmp_path / "notes.txt").write_text("no certificate")
    path = tmp_path / name
    monkeypatch.setenv(variable, str(path))
    line = f"cannot use {variable}={path} ({why}); correct or unset it"
    assert failure(url) == line
    with pytest.raises(ModelUnreachable) as raised:
        list_models(PROVIDERS["vllm"], base_url=url)
    assert str(raised.value) == line


def test_a_dead_proxy_is_named(monkeypatch):
    """A proxy that does not answer is in the error, with its variable and without its password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:1")
    engine = ChatCompletionsEngine(
        Endpoint(PROVIDERS["openai"], "m", ELSEWHERE, "key-of-a-test"), backoff_seconds=0
    )
    with pytest.raises(ModelUnreachable) as raised:
        ask(engine, settings=ONCE)
    assert str(raised.value) == (
        f"OpenAI does not respond at {ELSEWHERE} (connection failed through the proxy http://me:***@127.0.0.1:1 of"
        " HTTPS_PROXY); check the proxy, or set NO_PROXY"
    )


def test_a_proxy_that_refuses(monkeypatch, chat_server):
    """A proxy that answers with a refusal is named, and not tried again."""
    proxy = chat_server().url.removesuffix("/v1")
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert failure(ELSEWHERE).startswith(
        f"cannot reach vLLM: the proxy {proxy} of ALL_PROXY refused the connection: 501"
    )


def test_a_proxy_that_wants_a_password(chat_server, monkeypatch):
    """The status 407 is the proxy's."""
    with pytest.raises(ModelUnreachable) as raised:
        ask(engine_for(chat_server(status(407, "who are you?"))))
    assert (
        str(raised.value)
        == "cannot reach vLLM: the proxy refused the connection: who are you?; check its address, user and password"
    )


def test_a_proxy_that_needs_a_package(monkeypatch):
    """SOCKS without its package says which one."""
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    raised = failure(ELSEWHERE, error=ConfigError)
    assert raised.endswith("of ALL_PROXY; install the package socksio or unset it")


@pytest.mark.parametrize(
    ("url", "variables", "proxy"),
    [
        (ELSEWHERE, {}, ""),
        (ELSEWHERE, {"https_proxy": "http://p:1"}, "the proxy http://p:1 of HTTPS_PROXY"),
        (ELSEWHERE, {"HTTP_PROXY": "http://p:1"}, ""),
        (ELSEWHERE, {"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, ""),
        (ELSEWHERE, {"ALL_PROXY": "http://p:1", "NO_PROXY": "api.example"}, ""),
        ("https://10.1.2.3/v1", {"ALL_PROXY": "http://p:1", "NO_PROXY": " 10.0.0.0/8"}, ""),
        ("http://127.0.0.1:1/v1", {"ALL_PROXY": "http://p:1"}, ""),
    ],
)
def test_which_proxy_is_used(monkeypatch, url, variables, proxy):
    """The proxy is the one of the scheme or of all, unless NO_PROXY or loopback excludes the address."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


NOW = datetime(2026, 12, 1, tzinfo=UTC)
TEXTS = {
    "Rate limit reached. Please try again in 2.5s. Visit": 2.5,
    "Please try again in 1m30.5s.": 90.5,
    "Try again in 20 seconds": 20.0,
    "Please retry in 500ms": 0.5,
    "Please wait 3 minutes": 180.0,
    "retry after 7 s": 7.0,
    "try again later": None,
    "try again in a moment": None,
}
HEADERS = {
    "one": ({"x-ratelimit-reset-requests": "2s"}, 2.0),
    "used up": ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "10", "x-ratelimit-reset-tokens": "120ms", "x-ratelimit-remaining-tokens": "0"}, 0.12),
    "both": ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "7.66s"}, 7.66),
    "whole again only then": ({"x-ratelimit-reset-tokens": "6m0s"}, None),
    "a moment": ({"anthropic-ratelimit-requests-reset": "2026-12-01T00:00:05Z", "anthropic-ratelimit-requests-remaining": "0"}, 5.0),
    "garbage": ({"x-ratelimit-reset-requests": "soon"}, None),
    "the header first": ({"retry-after": "3", "x-ratelimit-reset-requests": "9s"}, 3.0),
}  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), TEXTS.items())
def test_waits_in_words(text, seconds):
    """A wait in the text of a refusal is read; what names none is none."""
    assert retry_after({}, text, NOW) == seconds


@pytest.mark.parametrize(("headers", "seconds"), HEADERS.values(), ids=HEADERS)
def test_waits_in_headers(headers, seconds):
    """The reset of the limit that is used up is the wait."""
    assert retry_after(headers, "", NOW) == seconds


def test_a_wait_is_kept_to(chat_server):
    """The next try comes after the wait in the text or the header."""
    replies = [
        status(429, "Please try again in 20ms."),
        status(429, "no", x_ratelimit_reset_requests="30ms"),
    ]
    events = ask(engine_for(chat_server(*replies, answer("ok"))))
    assert [e.wait_seconds for e in events if isinstance(e, Retrying)] == [0.02, 0.03]
    assert events[-1].text == "ok"


@pytest.mark.parametrize("key", ["k", "x", "none", "ollama", "1234567"])
def test_short_keys_are_not_masked(key):
    """A dummy key is part of many words; only a key of 8 characters or more is masked."""
    said = "thinking, next, none, ollama and 1234567"
    assert error_message(said, key) == said
    assert error_message("the key 12345678 is wrong", "12345678") == "the key [key] is wrong"
