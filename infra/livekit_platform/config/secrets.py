"""The secrets of a stack, generated or given."""

from __future__ import annotations

from pydantic import Field, SecretStr

from livekit_platform.config.section import KEY_ALLOWED, GivenSecret, Section

# token-api accepts two values of these secrets. `make secrets ROTATE=…` keeps the earlier one by this name.
KEPT_AS = {"api_service_key": "previous_api_service_key", "host_jwt_secret": "previous_host_jwt_secret"}
# Earlier values of secrets, while they are still accepted, and the key of somebody else's store. A generated
# value would not work.
GIVEN_ONLY = ("livekit_previous_api_secret", *KEPT_AS.values(), "egress_backup_secret_key")
_KEPT = (
    f"{KEY_ALLOWED}; the earlier `{{0}}`, which is still accepted: `make secrets ROTATE={{0}}` keeps it "
    "here; remove it with `pulumi config rm --path` once it is no longer used"
)


class Secrets(Section):
    """Every secret of the platform, encrypted by Pulumi. A stack needs only the secrets of its own parts."""

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
    previous_api_service_key: GivenSecret | None = Field(
        default=None, description=_KEPT.format("api_service_key")
    )
    host_jwt_secret: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    previous_host_jwt_secret: GivenSecret | None = Field(
        default=None, description=_KEPT.format("host_jwt_secret")
    )
    s3_root_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_egress_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    s3_token_api_secret_key: GivenSecret | None = Field(default=None, description=KEY_ALLOWED)
    egress_backup_secret_key: GivenSecret | None = Field(
        default=None,
        description="32 to 256 printable ASCII characters without spaces, at least 8 of them different: the "
        "secret of `egress.backup.access_key`, which the store's owner gives; set with `pulumi config set "
        "--secret --path`, and never generated",
    )

    def present(self) -> dict[str, SecretStr]:
        """The secrets that are present, by field name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The field names of all secrets that can be generated."""
        return tuple(name for name in cls.model_fields if name not in GIVEN_ONLY)
