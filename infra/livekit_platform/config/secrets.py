"""Generated secrets and, where the owner has them already, given ones."""

from __future__ import annotations

from pydantic import Field, SecretStr

from livekit_platform.config.section import KEY_ALLOWED, GivenSecret, Section

# What was a secret before: nothing could be generated for it.
GIVEN_ONLY = ("livekit_previous_api_secret",)


class Secrets(Section):
    """Every secret of the platform. What is left out is generated once, unless its key says otherwise."""

    generation: int = Field(
        default=1,
        ge=1,
        description="a number from 1; raising it makes every generated secret anew and restarts the pods",
    )
    livekit_api_secret: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    livekit_previous_api_secret: GivenSecret | None = Field(
        default=None,
        description="32 to 256 printable ASCII characters without spaces, at least 8 of them different: the "
        "secret of `livekit.previous_api_key`, which the output `livekit_api_secret` was; set with `pulumi "
        "config set --secret --path`, and never generated",
    )
    redis_password: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    redis_replication_password: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    turn_secret: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    api_service_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    host_jwt_secret: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_root_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_egress_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_token_api_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)

    def given(self) -> dict[str, SecretStr]:
        """The secrets that the owner gives, by field name."""
        values = {name: getattr(self, name) for name in (*self.names(), *GIVEN_ONLY)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The field names of all secrets that are generated where they are not given."""
        return tuple(name for name in cls.model_fields if name not in {"generation", *GIVEN_ONLY})
