"""Amazon's library, as Bedrock needs it: our key, or else whatever Amazon's own tools would sign in with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from omniagent_cli.agent.models.failures import status_failure, unreachable
from omniagent_cli.agent.models.http_client import CONNECT_SECONDS
from omniagent_cli.agent.models.providers import Endpoint, is_loopback
from omniagent_cli.agent.native.response import readable
from omniagent_cli.errors import ConfigError, ModelUnreachable
from omniagent_cli.text.sanitize import one_line

_SILENCE_SECONDS = 3600
"""How long the library waits by itself; silence is judged by us, and much sooner."""


def client_for(
    endpoint: Endpoint, service: str, *, timeout_seconds: float = _SILENCE_SECONDS
) -> Any:
    """Return a client of one of Amazon's services.

    Raises:
        ConfigError: nothing says which region, or the settings of Amazon's tools cannot be used.
        ModelUnreachable: there is neither a key nor anything else to sign in with.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

    try:
        region = os.environ.get("AWS_REGION") or None
        session = boto3.Session(botocore_session=_session(), region_name=region)
        if not endpoint.api_key and session.get_credentials() is None:
            raise ModelUnreachable(
                f"there is no key for {endpoint.provider.title}; {endpoint.key_advice},"
                " or sign in with Amazon's tools (`aws login`, AWS_PROFILE)"
            )
        client: Any = session.client(
            service,
            endpoint_url=None if endpoint.is_its_own else endpoint.base_url,
            config=_config(endpoint, timeout_seconds),
        )
    except NoRegionError as error:
        raise ConfigError(
            f"{endpoint.provider.title} is in many places; set AWS_REGION, such as us-east-1"
        ) from error
    except ProfileNotFound as error:
        raise ConfigError(f"AWS_PROFILE: {error}") from error
    except BotoCoreError as error:
        told = one_line(str(error)).rstrip(".")
        raise ConfigError(
            f"{endpoint.provider.title} cannot be asked: {told}; check AWS_REGION and Amazon's own settings"
        ) from error
    if endpoint.api_key:
        client.meta.events.register(f"before-send.{service}", _signer(endpoint.api_key))
    return client


def _session() -> Any:
    """Return a session that shares what is known of Amazon's services: to read that takes as long as an answer."""
    from botocore.session import Session

    session = Session()
    if _known_services:
        session.register_component("data_loader", _known_services[0])
    else:
        _known_services.append(session.get_component("data_loader"))
    return session


_known_services: list[Any] = []


def _signer(api_key: str) -> Callable[..., None]:
    """Make what puts our key on a request; the library takes one from a variable only, and to https only."""

    def sign(request: Any, **_: Any) -> None:
        request.headers["Authorization"] = f"Bearer {api_key}"

    return sign


def _config(endpoint: Endpoint, timeout_seconds: float) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config

    own: dict[str, Any] = {"proxies": {}} if is_loopback(endpoint.base_url) else {}
    return Config(
        signature_version=UNSIGNED if endpoint.api_key else None,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=timeout_seconds,
        retries={"total_max_attempts": 1},
        user_agent="omniagent",
        **own,
    )


def list_models(endpoint: Endpoint, timeout_seconds: float) -> list[str]:
    """Ask Bedrock which models there are: those of a region, then the profiles that spread them over regions.

    Raises:
        ModelError: it did not answer, or refused.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    # Another service than the one that answers, at an address of its own.
    own = replace(endpoint, base_url=endpoint.provider.native_url)
    client = client_for(own, "bedrock", timeout_seconds=timeout_seconds)
    try:
        models = client.list_foundation_models(byOutputModality="TEXT")["modelSummaries"]
        profiles = client.list_inference_profiles(maxResults=1000)["inferenceProfileSummaries"]
    except ClientError as error:
        answer = error.response.get("ResponseMetadata", {})
        headers = answer.get("HTTPHeaders", {})
        body = readable(error.response)
        status = answer.get("HTTPStatusCode", 500)
        raise status_failure(endpoint, status, headers, body, datetime.now(UTC)).error from None
    except BotoCoreError as error:
        raise unreachable(endpoint, "no list of models").error from error
    finally:
        client.close()
    return [
        *(row["modelId"] for row in models),
        *(row["inferenceProfileId"] for row in profiles),
    ]
