"""The engine against a real server that fails in every way seen."""

from __future__ import annotations

import socket
import ssl
import threading
import traceback
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from omniagent_cli.agent.events import ModelSettings, Retrying, TextDelta
from omniagent_cli.agent.models.chat_completions import ChatCompletionsEngine
from omniagent_cli.agent.models.http_client import connection_failure
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.errors import (
    ConfigError,
    ModelError,
    ModelRateLimited,
    ModelRefused,
    ModelUnreachable,
)
from tests.agent.asking import KEY, QUICK, ask, engine_for, one
from tests.servers.chat_server import (
    STALL,
    Cut,
    Reply,
    answer,
    chunk,
    cut,
    document,
    stall,
    status,
    stream,
)
from tests.servers.ports import refusing_port


@contextmanager
def tls_server(folder):
    """Speak TLS on this machine with a certificate of our own making; yield the port."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "pem").write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pem")

    def serve(listening):
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with (
                    connection,
                    suppress(OSError),
                    context.wrap_socket(connection, server_side=True),
                ):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def failure(chat_server, error, *replies, key="", provider="vllm", settings=QUICK, seen=None):
    """Ask a server with this script once; return the text of the error it must end in."""
    with pytest.raises(error) as told:
        ask(engine_for(chat_server(*replies), provider, key), settings=settings, seen=seen)
    assert type(told.value) is error
    return str(told.value)


def test_cut_in_the_middle(chat_server):
    """A broken connection keeps what came, is told as unreachable and not tried again."""
    seen = []
    server = chat_server(cut("Once ", "upon"))
    with pytest.raises(
        ModelUnreachable, match="vLLM closed the connection in the middle of the answer"
    ):
        ask(engine_for(server), seen=seen)
    assert seen == [TextDelta("Once "), TextDelta("upon")]
    assert len(server.requests) == 1


def test_a_cut_after_the_finish_reason_is_no_loss(chat_server):
    """Only the counts are missing when the connection breaks or stalls behind the end."""
    for ending in (Cut(), b"data: {oops\n\n"):
        end = one(chat_server, stream(chunk(content="All"), chunk("stop"), ending))
        assert (end.reason, end.text, end.usage) == ("stop", "All", {})


BROKEN = {
    "error event": (b'data: {"error": {"message": "out of \\u001b[31m memory"}}\n\n', ModelError, "vLLM stopped with an error: out of \ufffd[31m memory"),
    "error text": (b'data: {"error": "boom"}\n\n', ModelError, "vLLM stopped with an error: boom"),
    "error object": ({"object": "error", "message": "boom", "code": 400}, ModelRefused, "vLLM rejected the request (400): boom"),
    "error status": ({"error": {"code": 401, "message": "no"}}, ModelRefused, "vLLM requires an API key; set one with `omniagent keys set vllm` or set VLLM_API_KEY"),
    "broken JSON": (b"data: {broken\n\n", ModelError, "vLLM sent an unreadable event; try again"),
    "broken UTF-8": (b"data: \xff\xfe\n\n", ModelError, "vLLM sent an unreadable event; try again"),
    "deep": (b"data: " + b"[" * 100_000 + b"\n\n", ModelError, "vLLM sent an unreadable event; try again"),
    "stall": (STALL, ModelUnreachable, "vLLM sent no more of the answer for 0.1 s; try again or choose another model"),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "error", "text"), BROKEN.values(), ids=BROKEN)
def test_broken_in_the_middle(chat_server, bad, error, text):
    """Whatever goes wrong in an answer keeps what came and is told in one line."""
    seen = []
    assert failure(chat_server, error, stream(chunk(content="Once"), bad), seen=seen) == text
    assert seen == [TextDelta("Once")]


NOT_CHAT = {
    "web page": (document(b"<html><title>Hi</title></html>", "text/html"), "a web page"),
    "garbage": (document(b"\x00\xffgarbage\n\n", "text/plain"), "invalid JSON"),
    "other JSON": (document(b'{"ok": true}', "application/json"), "an unexpected response"),
    "not JSON": (document(b"oops", "application/json"), "invalid JSON"),
    "empty": (document(b"", "text/event-stream"), "an unexpected response"),
    "only done": (stream(), "an unexpected response"),
}


@pytest.mark.parametrize(("reply", "what"), NOT_CHAT.values(), ids=NOT_CHAT)
def test_what_is_no_chat_server(chat_server, reply, what):
    """An address where something else lives is told as that."""
    server = chat_server(reply)
    with pytest.raises(ModelError) as told:
        ask(engine_for(server))
    assert str(told.value) == (
        f"vLLM at {server.url} sent {what}; "
        "check that this address supports Chat Completions (it often ends in /v1)"
    )


REFUSALS = {
    "401": (status(401, f"Incorrect API key provided: {KEY}"), "OpenAI rejected the API key; set one with `omniagent keys set openai` or set OPENAI_API_KEY"),
    "403": (status(403, f"{KEY} may not"), "OpenAI does not allow this API key to use m: [key] may not; choose another model or key"),
    "404": (status(404, "no such model."), "OpenAI has no model m: no such model; run `omniagent models list` or check the base_url URL"),
    "400": (status(400, "bad\nrequest"), "OpenAI rejected the request (400): bad request"),
    "too long": (status(400, {"code": "context_length_exceeded", "message": "too long"}), "the conversation exceeds the context window of m: too long"),
    "too large": (status(413, "Request too large for m"), "the conversation exceeds the context window of m: Request too large for m"),
    "credit": (status(429, {"code": "insufficient_quota", "message": "no quota"}), "the OpenAI account has no credit left: no quota; see its billing page"),
    "page": (document(b"<html><head><title>Forbidden</title>", "text/html", 403), "OpenAI does not allow this API key to use m: a web page titled 'Forbidden'; choose another model or key"),
    "list": (document(b'[{"error": {"message": "in a list"}}]', "application/json", 400), "OpenAI rejected the request (400): in a list"),
    "redirect": (status(307, "", Location="https://elsewhere.example/v1"), "OpenAI at URL redirects to https://elsewhere.example/v1; set that as base_url if you trust it"),
    "redirect with the key": (status(307, "", Location=f"https://elsewhere.example/v1?k={KEY}"), "OpenAI at URL redirects to https://elsewhere.example/v1?k=[key]; set that as base_url if you trust it"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "text"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_say_what_to_do(chat_server, reply, text):
    """A refusal is one line with the next step, without the key, and not tried again."""
    server = chat_server(reply)
    with pytest.raises(ModelRefused) as told:
        ask(engine_for(server, "openai", KEY))
    assert str(told.value).replace(server.url, "URL") == text
    assert len(server.requests) == 1
    assert KEY not in "".join(traceback.format_exception(told.value))


def test_waits_as_asked_and_tries_again(chat_server):
    """Rate limits and failing servers are tried again before anything was said, and each wait is told."""
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=5), usegmt=True)
    replies = [
        status(429, Retry_After="0.02"),
        status(503, Retry_After=past),
        status(500),
        cut(),
        answer("ok"),
    ]
    events = ask(engine_for(chat_server(*replies)), settings=ModelSettings(max_retries=4))
    assert [e.reason for e in events if isinstance(e, Retrying)] == [
        "Rate limited by vLLM", "vLLM failed (503)", "vLLM failed (500)", "vLLM does not respond",
    ]  # fmt: skip
    assert [e.wait_seconds for e in events[:2]] == [0.02, 0.0]
    assert events[-1].text == "ok"


DATE = format_datetime(datetime(2040, 1, 1, tzinfo=UTC), usegmt=True)
LIMITS = {
    "no time": ({}, None, "try again later"),
    "seconds": ({"Retry-After": "90"}, 90.0, "try again in 90 s"),
    "fraction": ({"retry-after-ms": "61500"}, 61.5, "try again in 62 s"),
    "minutes": ({"Retry-After": "600"}, 600.0, "try again in 10 min"),
    "hours": ({"Retry-After": "86400"}, 86400.0, "try again in 24 h"),
    "date": ({"Retry-After": DATE}, None, " h"),
    "nonsense": ({"Retry-After": "soon"}, None, "try again later"),
}


@pytest.mark.parametrize(("headers", "wait", "advice"), LIMITS.values(), ids=LIMITS)
def test_rate_limits_say_how_long(chat_server, headers, wait, advice):
    """A limit without a time, with seconds or with a date is told with what to do, and carries the time."""
    settings = ModelSettings(max_retries=0)
    with pytest.raises(ModelRateLimited) as told:
        ask(
            engine_for(chat_server(Reply(status=429, headers=headers, body=b"{}"))),
            settings=settings,
        )
    assert str(told.value).startswith("vLLM rate limit exceeded; try again ")
    assert str(told.value).endswith(advice)
    if wait is not None or not headers:
        assert told.value.retry_after_seconds == wait


def test_a_huge_error_is_not_read_to_its_end(chat_server):
    """An error page without end costs neither memory nor the line that tells it."""
    server = chat_server(document(b"<p>" + b"x" * 60_000_000, "text/html", 400))
    with pytest.raises(ModelRefused) as told:
        ask(engine_for(server))
    assert str(told.value) == "vLLM rejected the request (400): a web page"
    assert server.wait_hangup()


def test_a_certificate_nobody_signed(tmp_path):
    """A server whose certificate cannot be verified is not asked, and that is told; it is not tried again."""
    with tls_server(tmp_path) as port:
        url = f"https://127.0.0.1:{port}/v1"
        seen = []
        with pytest.raises(ModelUnreachable) as told:
            ask(ChatCompletionsEngine(Endpoint(PROVIDERS["vllm"], "m", url)), seen=seen)
    assert str(told.value) == (
        f"cannot verify the certificate of {url}; "
        "install the system's CA certificates or set SSL_CERT_FILE"
    )
    assert seen == []


def test_no_tls_where_it_is_expected(chat_server):
    """An https address of a server that speaks http is told as that."""
    url = chat_server().url.replace("http:", "https:")
    with pytest.raises(ModelUnreachable) as told:
        ask(ChatCompletionsEngine(Endpoint(PROVIDERS["vllm"], "m", url)))
    assert str(told.value) == (
        f"TLS handshake with {url} failed; "
        "check whether the server expects http:// instead of https://"
    )


def test_a_host_that_is_not_there():
    """A name that leads nowhere is told as that, after trying again, for the network may be coming back."""
    endpoint = Endpoint(PROVIDERS["groq"], "m", "https://no.example/v1", KEY)
    try:
        socket.getaddrinfo("no.example", 443, flags=socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        failed = connection_failure(endpoint, error, started=False)
    assert failed.worth_retrying
    assert str(failed.error) == (
        "cannot resolve the address of Groq: unknown host no.example; check the network and the address"
    )


def test_an_overload_told_in_the_stream_is_tried_again(chat_server):
    """An error event that says overloaded, before any word, is like a 529."""
    busy = stream(
        chunk(role="assistant"), {"error": {"type": "overloaded_error", "message": "busy"}}
    )
    assert one(chat_server, busy, answer("ok")).text == "ok"


def test_gives_up_after_the_retries(chat_server):
    """After the last try the error says what happened."""
    settings = ModelSettings(max_retries=1)
    text = failure(chat_server, ModelUnreachable, status(502), status(502), settings=settings)
    assert text == "vLLM failed or is overloaded (502): it went wrong; try again later"


def test_a_long_wait_is_left_to_the_person(chat_server):
    """More than a minute is not waited for but told, with its length."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=3600), usegmt=True)
    with pytest.raises(ModelRateLimited) as told:
        ask(engine_for(chat_server(status(429, Retry_After=later))))
    assert 3590 < told.value.retry_after_seconds <= 3600


def test_a_server_that_does_not_begin(chat_server):
    """Silence before the first token ends at its own limit and is not tried again."""
    for reply in (stall(), stream(chunk(role="assistant"), STALL), answer("x", before=5)):
        server = chat_server(reply)
        with pytest.raises(ModelUnreachable) as told:
            ask(engine_for(server), settings=QUICK)
        assert str(told.value) == (
            "vLLM sent no response for 0.2 s; try again or choose another model"
        )
        assert server.wait_hangup()
        assert len(server.requests) == 1


def test_nobody_answers():
    """A closed port is unreachable, with the address."""
    seen = []
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        endpoint = Endpoint(PROVIDERS["ollama"], "m", url)
        engine = ChatCompletionsEngine(endpoint, backoff_seconds=0.01)
        with pytest.raises(ModelUnreachable) as told:
            ask(engine, seen=seen)
    assert (
        str(told.value) == f"Ollama does not respond at {url} (connection failed); is it running?"
    )
    assert [type(event) for event in seen] == [Retrying, Retrying]


def test_a_useless_proxy_is_told(monkeypatch):
    """A proxy setting that cannot work is a configuration error, its password unsaid."""
    monkeypatch.setenv("ALL_PROXY", "nonsense://me:secret@127.0.0.1:1")
    endpoint = Endpoint(PROVIDERS["groq"], "m", "https://groq.example/v1", KEY)
    with pytest.raises(
        ConfigError, match=r"cannot use the proxy nonsense://me:\*\*\*@127.0.0.1:1 of ALL_PROXY"
    ) as told:
        ask(ChatCompletionsEngine(endpoint))
    assert "secret" not in str(told.value)


def test_a_missing_or_mangled_key_is_told_before_asking():
    """Without a usable key a hosted provider is not asked at all."""
    openai = PROVIDERS["openai"]
    with pytest.raises(ModelUnreachable) as told:
        ask(ChatCompletionsEngine(Endpoint(openai, "m", openai.base_url)))
    assert (
        str(told.value)
        == "no API key for OpenAI; set one with `omniagent keys set openai` or set OPENAI_API_KEY"
    )
    with pytest.raises(ModelRefused, match="OpenAI: the key contains spaces or characters"):
        ask(ChatCompletionsEngine(Endpoint(openai, "m", openai.base_url, "sk-\u201cquoted\u201d")))
