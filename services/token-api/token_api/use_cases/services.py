"""What every use case works with; made once by the application factory."""

from __future__ import annotations

from dataclasses import dataclass, field

from token_api.database.engine import Database
from token_api.domain.clock import Clock
from token_api.keyed_locks import KeyedLocks
from token_api.livekit_api.gateway import Gateway
from token_api.livekit_api.values import RoomParticipant
from token_api.metrics import Metrics
from token_api.recent import Recent
from token_api.settings import Settings
from token_api.tokens import ApiCredentials
from token_api.wakeups import Wakeups


@dataclass(frozen=True)
class Services:
    """The means of the use cases."""

    settings: Settings
    clock: Clock
    database: Database
    livekit: Gateway
    metrics: Metrics
    wakeups: Wakeups
    # Those who want the same stream opened at once wait for one, rather than all asking LiveKit.
    locks: KeyedLocks = field(default_factory=KeyedLocks)
    # Figures of streams, as JSON.
    recent: Recent[bytes] = field(default_factory=Recent)
    # Participants of rooms, from the first who joined.
    participants: Recent[list[RoomParticipant]] = field(default_factory=Recent)

    @property
    def credentials(self) -> ApiCredentials:
        settings = self.settings
        return ApiCredentials(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
