"""The host application of a stack under test: its users' JWTs, and requests to token-api through the edge."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack, local

_TOKEN_SECONDS = 300


@dataclass(frozen=True)
class HostApplication:
    """What signs users' JWTs, and knows the service key."""

    client: httpx.Client
    api_url: str
    service_key: str
    secret: str
    issuer: str
    audience: str

    def as_user(self, user: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The user's request; its answer's JSON, or None where it has none.

        Raises:
            httpx.HTTPStatusError: it was refused.
        """
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.audience, "sub": user, "exp": now + _TOKEN_SECONDS}
        return self._ask(jwt.encode(claims, self.secret, algorithm="HS256"), method, path, body)

    def as_service(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The application's own request, as `as_user`."""
        return self._ask(self.service_key, method, path, body)

    def _ask(self, bearer: str, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        answer = self.client.request(
            method, f"{self.api_url}/v1{path}", json=body, headers={"Authorization": f"Bearer {bearer}"}
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None


def host_application(
    client: httpx.Client, stack: RunningStack, kubectl: Kubectl, workload: str
) -> HostApplication:
    """As the stack is configured: issuer and audience are the deployed service's (`workload`: kind/name)."""
    words = ("get", workload, "-n", stack.outputs.namespace, "-o", "json")
    template = json.loads(kubectl(*words).stdout)["spec"]["template"]
    [container] = template["spec"]["containers"]
    environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    outputs = json.loads(local("outputs", "--secrets", timeout=120))
    assert "host_jwt_secret" in outputs, "token_api.host_auth.kind is not `secret` in this stack"
    return HostApplication(
        client=client,
        api_url=stack.outputs.api_url,
        service_key=stack.outputs.api_service_key.get_secret_value(),
        secret=outputs["host_jwt_secret"],
        issuer=environment["TOKEN_API_HOST_JWT_ISSUER"],
        audience=environment["TOKEN_API_HOST_JWT_AUDIENCE"],
    )
