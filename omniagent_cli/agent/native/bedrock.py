"""AWS clients for Bedrock, signed in with an API key or with the credentials of the AWS tools."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from omniagent_cli.agent.models.failures import status_failure, unreachable
from omniagent_cli.agent.models.http_client import CONNECT_SECONDS
from omniagent_cli.agent.models.providers import Endpoint, is_loopback
from omniagent_cli.agent.native.response import error_body
from omniagent_cli.errors import ConfigError, ModelUnreachable
from omniagent_cli.text.sanitize import one_line

_SILENCE_SECONDS = 3600
"""Read timeout of the library; the engine applies its own, shorter timeouts."""


def new_client(
    endpoint: Endpoint, service: str, *, timeout_seconds: float = _SILENCE_SECONDS
) -> Any:
    """Return a client of an AWS service.

    Raises:
        ConfigError: no region is set, or the AWS configuration is invalid.
        ModelUnreachable: neither an API key nor AWS credentials are available.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, NoRegionError, ProfileNotFound

    try:
        region = os.environ.get("AWS_REGION") or None
        session = boto3.Session(botocore_session=_botocore_session(), region_name=region)
        if not endpoint.api_key and session.get_credentials() is None:
            raise ModelUnreachable(
                f"no API key for {endpoint.provider.title}; {endpoint.provider.key_advice},"
                " or sign in with the AWS tools (`aws login`, AWS_PROFILE)"
            )
        client: Any = session.client(
            service,
            endpoint_url=None if endpoint.is_default_address else endpoint.base_url,
            config=_config(endpoint, timeout_seconds),
        )
    except NoRegionError as error:
        raise ConfigError(
            f"no region for {endpoint.provider.title}; set AWS_REGION, for example us-east-1"
        ) from error
    except ProfileNotFound as error:
        raise ConfigError(f"AWS_PROFILE: {error}") from error
    except BotoCoreError as error:
        details = one_line(str(error)).rstrip(".")
        raise ConfigError(
            f"cannot connect to {endpoint.provider.title}: {details}; check AWS_REGION and the AWS configuration"
        ) from error
    if endpoint.api_key:
        client.meta.events.register(f"before-send.{service}", _bearer_signer(endpoint.api_key))
    return client


def _botocore_session() -> Any:
    """Return a session that shares loaded service models; loading them takes as long as a short answer."""
    from botocore.session import Session

    session = Session()
    if _known_services:
        session.register_component("data_loader", _known_services[0])
    else:
        _known_services.append(session.get_component("data_loader"))
    return session


_known_services: list[Any] = []


def _bearer_signer(api_key: str) -> Callable[..., None]:
    """Return a hook that adds the API key; the library reads it only from a variable and sends it only over https."""

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
    """List Bedrock's models: the foundation models of a region, then the inference profiles.

    Raises:
        ModelError: the request failed or was rejected.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    # The list comes from another service at an address of its own.
    own = replace(endpoint, base_url=endpoint.provider.native_url)
    client = new_client(own, "bedrock", timeout_seconds=timeout_seconds)
    try:
        models = client.list_foundation_models(byOutputModality="TEXT")["modelSummaries"]
        profiles = client.list_inference_profiles(maxResults=1000)["inferenceProfileSummaries"]
    except ClientError as error:
        answer = error.response.get("ResponseMetadata", {})
        headers = answer.get("HTTPHeaders", {})
        body = error_body(error.response)
        status = answer.get("HTTPStatusCode", 500)
        raise status_failure(endpoint, status, headers, body, datetime.now(UTC)).error from None
    except BotoCoreError as error:
        raise unreachable(endpoint, "no model list").error from error
    finally:
        client.close()
    return [
        *(row["modelId"] for row in models),
        *(row["inferenceProfileId"] for row in profiles),
    ]
