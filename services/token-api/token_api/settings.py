"""The service's environment, read and judged once: every problem is found before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from token_api.setting_values import (
    SECRET_ALLOWED,
    URL_ALLOWED,
    DatabaseUrl,
    Exceptions,
    HttpUrl,
    JwksUrl,
    LiveKitUrl,
    Networks,
    Origins,
    StrongSecret,
    own_secret,
)

_KEY_PATTERN = r"^[A-Za-z0-9_-]{3,128}$"
_KEY_ALLOWED = "3 to 128 letters, digits, '_' or '-'"
_LISTED = "separated by commas"


class Settings(BaseSettings):
    """What the service is told by its environment. A field's description says what is allowed.

    No variable is called TOKEN_API_PORT or TOKEN_API_SERVICE_PORT: Kubernetes itself sets these
    in every pod beside a Service named `token-api`.
    """

    model_config = SettingsConfigDict(
        case_sensitive=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        # pydantic's own messages would show secrets.
        hide_input_in_errors=True,
    )

    livekit_url: LiveKitUrl = Field(validation_alias="LIVEKIT_URL", description=URL_ALLOWED)
    livekit_public_url: LiveKitUrl | None = Field(
        None, validation_alias="LIVEKIT_PUBLIC_URL", description=URL_ALLOWED
    )
    livekit_api_key: str = Field(
        validation_alias="LIVEKIT_API_KEY",
        description=_KEY_ALLOWED,
        pattern=_KEY_PATTERN,
    )
    livekit_api_secret: StrongSecret = Field(
        validation_alias="LIVEKIT_API_SECRET", description=SECRET_ALLOWED
    )
    service_key: Annotated[StrongSecret, AfterValidator(own_secret)] = Field(
        validation_alias="TOKEN_API_SERVICE_KEY",
        description=f"{SECRET_ALLOWED}, and not LIVEKIT_API_SECRET",
    )
    service_key_previous: Annotated[StrongSecret, AfterValidator(own_secret)] | None = Field(
        None,
        validation_alias="TOKEN_API_SERVICE_KEY_PREVIOUS",
        description=f"{SECRET_ALLOWED}, while the host application still uses it",
    )
    livekit_api_key_previous: str | None = Field(
        None,
        validation_alias="LIVEKIT_API_KEY_PREVIOUS",
        description=f"{_KEY_ALLOWED}, while LiveKit still signs with it",
        pattern=_KEY_PATTERN,
    )
    livekit_api_secret_previous: StrongSecret | None = Field(
        None,
        validation_alias="LIVEKIT_API_SECRET_PREVIOUS",
        description=SECRET_ALLOWED,
    )
    data_dir: Path = Field(
        Path("/var/lib/token-api"),
        validation_alias="TOKEN_API_DATA_DIR",
        description="a directory of the service's own: it holds SQLite's file where no database URL is given",
    )
    database_url: DatabaseUrl | None = Field(
        None,
        validation_alias="TOKEN_API_DATABASE_URL",
        description="sqlite:///<path of a file>, or postgresql://<user>:<password>@<host>:<port>/<database>",
    )
    host_jwt_secret: Annotated[StrongSecret, AfterValidator(own_secret)] | None = Field(
        None,
        validation_alias="TOKEN_API_HOST_JWT_SECRET",
        description=f"{SECRET_ALLOWED}, and not LIVEKIT_API_SECRET",
    )
    host_jwt_secret_previous: Annotated[StrongSecret, AfterValidator(own_secret)] | None = Field(
        None,
        validation_alias="TOKEN_API_HOST_JWT_SECRET_PREVIOUS",
        description=f"{SECRET_ALLOWED}, while the host application still signs with it",
    )
    host_jwks_url: JwksUrl | None = Field(
        None,
        validation_alias="TOKEN_API_HOST_JWKS_URL",
        description="an https:// URL",
    )
    host_jwt_issuer: str | None = Field(
        None,
        validation_alias="TOKEN_API_HOST_JWT_ISSUER",
        description="what host JWTs have as iss, up to 256 characters",
        max_length=256,
    )
    host_jwt_audience: str | None = Field(
        None,
        validation_alias="TOKEN_API_HOST_JWT_AUDIENCE",
        description="what host JWTs have in aud, up to 256 characters",
        max_length=256,
    )
    chat_provider: Literal["builtin", "getstream"] = Field(
        "builtin",
        validation_alias="TOKEN_API_CHAT_PROVIDER",
        description="builtin or getstream",
    )
    getstream_key: str | None = Field(
        None,
        validation_alias="TOKEN_API_GETSTREAM_KEY",
        description=_KEY_ALLOWED,
        pattern=_KEY_PATTERN,
    )
    getstream_secret: StrongSecret | None = Field(
        None,
        validation_alias="TOKEN_API_GETSTREAM_SECRET",
        description=SECRET_ALLOWED,
    )
    getstream_url: HttpUrl = Field(
        "https://chat.stream-io-api.com",
        validation_alias="TOKEN_API_GETSTREAM_URL",
        description="where GetStream's API is: http:// or https:// with a host and optionally a port",
    )
    s3_endpoint: HttpUrl | None = Field(
        None,
        validation_alias="TOKEN_API_S3_ENDPOINT",
        description="where clients fetch recordings: http:// or https:// with a host and optionally a port",
    )
    s3_inner_endpoint: HttpUrl | None = Field(
        None,
        validation_alias="TOKEN_API_S3_INNER_ENDPOINT",
        description=(
            "where the service itself reaches the store, TOKEN_API_S3_ENDPOINT if not given: http:// or "
            "https:// with a host and optionally a port"
        ),
    )
    s3_bucket: str | None = Field(
        None,
        validation_alias="TOKEN_API_S3_BUCKET",
        description="3 to 63 lower-case letters, digits, '-' or '.'",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    )
    s3_region: str = Field(
        "us-east-1",
        validation_alias="TOKEN_API_S3_REGION",
        description="1 to 64 lower-case letters, digits or '-'",
        pattern=r"^[a-z0-9-]{1,64}$",
    )
    s3_access_key: str | None = Field(
        None,
        validation_alias="TOKEN_API_S3_ACCESS_KEY",
        description=_KEY_ALLOWED,
        pattern=_KEY_PATTERN,
    )
    s3_secret_key: StrongSecret | None = Field(
        None,
        validation_alias="TOKEN_API_S3_SECRET_KEY",
        description=SECRET_ALLOWED,
    )
    egress_kind: Literal["livekit", "recorder", "none"] = Field(
        "livekit",
        validation_alias="TOKEN_API_EGRESS_KIND",
        description="livekit, recorder or none: what records for LiveKit",
    )
    recordings_retention_days: int = Field(
        0,
        validation_alias="TOKEN_API_RECORDINGS_RETENTION_DAYS",
        ge=0,
        le=36500,
        description="days after which recordings are deleted with their files, 0 to 36500; 0 keeps them",
    )
    cors_origins: Origins = Field(
        (),
        validation_alias="TOKEN_API_CORS_ORIGINS",
        description=f"origins of pages that may call, {_LISTED}: https://<host>",
    )
    trusted_proxies: Networks = Field(
        (),
        validation_alias="TOKEN_API_TRUSTED_PROXIES",
        description=f"networks of proxies whose X-Forwarded-For is believed, {_LISTED}: 10.0.0.0/8",
    )
    webhook_allow: Exceptions = Field(
        (),
        validation_alias="TOKEN_API_WEBHOOK_ALLOW",
        description=(
            "networks, or host names with or without a port, that webhooks may go to although they are "
            f"private, also by http://, {_LISTED}"
        ),
    )
    reconcile_seconds: int = Field(
        15,
        validation_alias="TOKEN_API_RECONCILE_SECONDS",
        ge=1,
        le=300,
        description="seconds between two comparisons with LiveKit, 1 to 300",
    )
    creator_grace_seconds: int = Field(
        300,
        validation_alias="TOKEN_API_CREATOR_GRACE_SECONDS",
        ge=5,
        le=86400,
        description="seconds after which a stream whose creator is gone is ended, 5 to 86400",
    )
    listen_host: str = Field(
        "0.0.0.0", validation_alias="TOKEN_API_LISTEN_HOST", description="an address of this host"
    )
    listen_port: int = Field(
        8080, validation_alias="TOKEN_API_LISTEN_PORT", ge=1, le=65535, description="a port, 1 to 65535"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias="TOKEN_API_LOG_LEVEL", description="debug, info, warning or error"
    )
    shutdown_seconds: int = Field(
        20,
        validation_alias="TOKEN_API_SHUTDOWN_SECONDS",
        ge=1,
        le=600,
        description="seconds that open requests get to end, 1 to 600",
    )
    drain_seconds: int = Field(
        0,
        validation_alias="TOKEN_API_DRAIN_SECONDS",
        ge=0,
        le=300,
        description="seconds after SIGTERM in which requests are still taken, and /readyz says 503, 0 to 300",
    )
    worker_seconds: int = Field(
        12,
        validation_alias="TOKEN_API_WORKER_SECONDS",
        ge=1,
        le=600,
        description="seconds that background work then gets to end, such as a webhook being sent, 1 to 600",
    )

    @property
    def livekit_http_url(self) -> str:
        """Where the service itself calls LiveKit's API."""
        return _with_scheme(self.livekit_url, {"ws": "http", "wss": "https"})

    @property
    def server_url(self) -> str:
        """What clients are told to connect to: always ws:// or wss://, as the client SDKs want it."""
        return _with_scheme(self.livekit_public_url or self.livekit_url, {"http": "ws", "https": "wss"})

    @property
    def livekit_secrets(self) -> dict[str, str]:
        """API key → secret, for everything that LiveKit signs: two while a key is replaced."""
        secrets = {self.livekit_api_key: self.livekit_api_secret.get_secret_value()}
        if self.livekit_api_key_previous and self.livekit_api_secret_previous:
            secrets[self.livekit_api_key_previous] = self.livekit_api_secret_previous.get_secret_value()
        return secrets

    @property
    def service_keys(self) -> tuple[str, ...]:
        """The keys that the host application may use, the current one first: two while one is replaced."""
        keys = (self.service_key, self.service_key_previous)
        return tuple(key.get_secret_value() for key in keys if key is not None)

    @property
    def host_jwt_secrets(self) -> tuple[str, ...]:
        """The secrets that may sign host JWTs, the current one first: two while one is replaced."""
        secrets = (self.host_jwt_secret, self.host_jwt_secret_previous)
        return tuple(secret.get_secret_value() for secret in secrets if secret is not None)

    @property
    def database(self) -> str:
        """The URL of the database; it may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'token-api.db'}"


def _with_scheme(url: str, replacements: dict[str, str]) -> str:
    scheme, _, rest = url.partition("://")
    return f"{replacements.get(scheme, scheme)}://{rest}"


@dataclass(frozen=True)
class EnvironmentProblem:
    """One variable that is missing or wrong. `given` never holds a secret, only its length."""

    variable: str
    given: str
    reason: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.reason}; given: {self.given}; allowed: {self.allowed}"


class BadEnvironment(Exception):
    """The environment does not allow to start. `problems` has every one of them."""

    def __init__(self, problems: tuple[EnvironmentProblem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def load_settings() -> Settings:
    """Read the settings from this process's environment.

    Raises:
        BadEnvironment: with all problems at once.
    """
    try:
        # Not Settings(): a type checker would ask for the fields that come from the environment.
        settings = Settings.model_validate({})
    except ValidationError as error:
        raise BadEnvironment(tuple(_problem(details) for details in error.errors())) from error
    if contradictions := tuple(_contradictions(settings)):
        raise BadEnvironment(contradictions)
    return settings


_STORE = ("s3_endpoint", "s3_bucket", "s3_access_key", "s3_secret_key")
# Variables that only make sense together.
_TOGETHER = (("livekit_api_key_previous", "livekit_api_secret_previous"), _STORE)


def _contradictions(settings: Settings) -> Iterator[EnvironmentProblem]:
    """What is wrong with variables that are good one by one."""
    for group in _TOGETHER:
        given = [field for field in group if getattr(settings, field) is not None]
        if given:
            yield from _missing(settings, group, f"{_variable(given[0])} is set")
    if settings.host_jwt_secret is not None or settings.host_jwks_url is not None:
        yield from _missing(settings, ("host_jwt_issuer", "host_jwt_audience"), "host JWTs are taken")
    if settings.chat_provider == "getstream":
        yield from _missing(
            settings, ("getstream_key", "getstream_secret"), "TOKEN_API_CHAT_PROVIDER is getstream"
        )
    if settings.recordings_retention_days and not any(getattr(settings, field) for field in _STORE):
        yield from _missing(settings, _STORE, "TOKEN_API_RECORDINGS_RETENTION_DAYS is set")
    if settings.livekit_api_key_previous == settings.livekit_api_key:
        yield EnvironmentProblem(
            "LIVEKIT_API_KEY_PREVIOUS",
            f"{len(settings.livekit_api_key)} characters",
            "it is LIVEKIT_API_KEY",
            "another key than the present one",
        )
    if settings.host_jwt_secret is not None and settings.host_jwks_url is not None:
        yield EnvironmentProblem(
            "TOKEN_API_HOST_JWKS_URL",
            repr(settings.host_jwks_url),
            "TOKEN_API_HOST_JWT_SECRET is set too",
            "one of the two: a JWT signed with either would be taken",
        )
    if settings.host_jwt_secret_previous is not None:
        yield from _missing(settings, ("host_jwt_secret",), "TOKEN_API_HOST_JWT_SECRET_PREVIOUS is set")
    yield from _equal(settings)


# Each must differ from the others: a key of one kind that is also accepted as another gives too many rights.
_OWN_SECRETS = ("service_key", "service_key_previous", "host_jwt_secret", "host_jwt_secret_previous")


def _equal(settings: Settings) -> Iterator[EnvironmentProblem]:
    seen: dict[str, str] = {}
    for field in _OWN_SECRETS:
        secret = getattr(settings, field)
        if secret is None:
            continue
        value = secret.get_secret_value()
        if value in seen:
            yield EnvironmentProblem(
                _variable(field),
                f"{len(value)} characters",
                f"it is {_variable(seen[value])}",
                "a secret of its own",
            )
        seen.setdefault(value, field)


def _missing(settings: Settings, fields: tuple[str, ...], because: str) -> Iterator[EnvironmentProblem]:
    for field in fields:
        if getattr(settings, field) is None:
            allowed = Settings.model_fields[field].description or ""
            reason = f"it is not set, or empty, although {because}"
            yield EnvironmentProblem(_variable(field), "nothing", reason, allowed)


def _variable(field: str) -> str:
    return str(Settings.model_fields[field].validation_alias)


def variables() -> dict[str, str]:
    """Environment variable → name of its field, in the order in which they are reported."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


# Also keys: a refused one may well be the secret, put into the wrong variable.
_HIDDEN = frozenset(
    {
        *("livekit_api_key", "livekit_api_secret", "livekit_api_key_previous", "livekit_api_secret_previous"),
        *_OWN_SECRETS,
        "database_url",
        *("getstream_key", "getstream_secret", "s3_access_key", "s3_secret_key"),
    }
)


def _given(variable: str, value: object) -> str:
    """A refused value as it may be printed: a URL without credentials, and of keys the length only."""
    text = str(value)
    if variables()[variable] in _HIDDEN:
        return f"{len(text)} characters"
    if "@" in text:
        # Whatever stands before the last @ may be a password, also in what is no valid URL.
        text = f"<hidden>@{text.rpartition('@')[2]}"
    return repr(text)


def _problem(details: ErrorDetails) -> EnvironmentProblem:
    variable = str(details["loc"][0])
    missing = details["type"] == "missing"
    return EnvironmentProblem(
        variable=variable,
        given="nothing" if missing else _given(variable, details["input"]),
        reason="it is not set, or empty" if missing else _reason(details),
        allowed=Settings.model_fields[variables()[variable]].description or "",
    )


def _reason(details: ErrorDetails) -> str:
    context: dict[str, Any] = details.get("ctx", {})
    # The text of our own validators; pydantic's constraints are told in full by `allowed`.
    return str(context["error"]) if "error" in context else "it is not allowed"
