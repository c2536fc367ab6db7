"""The service's environment, read and judged once: every problem is found before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

MIN_SECRET_LENGTH = 32
# A key that long still fits into a request header beside everything else that a proxy adds.
MAX_SECRET_LENGTH = 512
# Catches a key held down for 32 characters; a random hex or base64 secret has at least twice as many.
MIN_DISTINCT_CHARACTERS = 8
# What LiveKit's own examples and its `--dev` mode use: known to everyone.
PUBLIC_SECRETS = frozenset({"secret", "devkey", "devsecret"})

_URL_ALLOWED = "ws://, wss://, http:// or https:// with a host and optionally a port, and nothing after it"
_SECRET_ALLOWED = (
    f"{MIN_SECRET_LENGTH} to {MAX_SECRET_LENGTH} printable ASCII characters without white space, "
    f"at least {MIN_DISTINCT_CHARACTERS} of them different"
)


def _livekit_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is no URL ({error})") from error
    if parts.scheme not in {"ws", "wss", "http", "https"}:
        raise ValueError("its scheme is not allowed")
    if not host or any(character.isspace() for character in value):
        raise ValueError("it has no usable host")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a user name or password")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("it has a path, query or fragment")
    return value.rstrip("/")


def _strong_secret(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if value.strip().lower() in PUBLIC_SECRETS:
        raise ValueError("it is the secret of LiveKit's examples, which everyone knows")
    if value != value.strip():
        # The usual way to get there is `echo` without -n into a Secret or a file.
        raise ValueError("it begins or ends with white space, perhaps a line end")
    if not all("!" <= character <= "~" for character in value):
        raise ValueError("it holds a character that is white space or not printable ASCII")
    if len(value) < MIN_SECRET_LENGTH:
        raise ValueError("it is too short")
    if len(value) > MAX_SECRET_LENGTH:
        raise ValueError("it is too long")
    if len(set(value)) < MIN_DISTINCT_CHARACTERS:
        raise ValueError("it is made of too few different characters")
    return secret


def _own_secret(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    livekit_secret = info.data.get("livekit_api_secret")
    if livekit_secret == secret:
        raise ValueError("it is the same as LIVEKIT_API_SECRET, which callers of this service must not know")
    return secret


LiveKitUrl = Annotated[str, AfterValidator(_livekit_url)]
StrongSecret = Annotated[SecretStr, AfterValidator(_strong_secret)]


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

    livekit_url: LiveKitUrl = Field(validation_alias="LIVEKIT_URL", description=_URL_ALLOWED)
    livekit_public_url: LiveKitUrl | None = Field(
        None, validation_alias="LIVEKIT_PUBLIC_URL", description=_URL_ALLOWED
    )
    livekit_api_key: str = Field(
        validation_alias="LIVEKIT_API_KEY",
        description="3 to 128 letters, digits, '_' or '-'",
        pattern=r"^[A-Za-z0-9_-]{3,128}$",
    )
    livekit_api_secret: StrongSecret = Field(
        validation_alias="LIVEKIT_API_SECRET", description=_SECRET_ALLOWED
    )
    service_key: Annotated[StrongSecret, AfterValidator(_own_secret)] = Field(
        validation_alias="TOKEN_API_SERVICE_KEY",
        description=f"{_SECRET_ALLOWED}, and not LIVEKIT_API_SECRET",
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
        """API key → secret, for everything that LiveKit signs."""
        return {self.livekit_api_key: self.livekit_api_secret.get_secret_value()}


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
        return Settings.model_validate({})
    except ValidationError as error:
        raise BadEnvironment(tuple(_problem(details) for details in error.errors())) from error


def variables() -> dict[str, str]:
    """Environment variable → name of its field, in the order in which they are reported."""
    return {str(field.validation_alias): name for name, field in Settings.model_fields.items()}


def _given(variable: str, value: object) -> str:
    """A refused value as it may be printed: a URL without credentials, and of keys the length only.

    Also of LIVEKIT_API_KEY: a refused one may well be the secret, put into the wrong variable.
    """
    text = str(value)
    if variables()[variable] in {"livekit_api_key", "livekit_api_secret", "service_key"}:
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
