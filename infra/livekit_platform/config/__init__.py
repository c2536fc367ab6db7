"""The typed configuration of a stack: every key, its default and what it allows.

One module per section. Rules over more than one section are in `config_rules`, reading and error messages
in `config_loader`, the generated documentation in `config_docs`.
"""

from livekit_platform.config.certificates import Certificates
from livekit_platform.config.edge import Edge, Issuer, RateLimit, Tls
from livekit_platform.config.egress import BackupStore, Egress
from livekit_platform.config.images import Images
from livekit_platform.config.livekit import LiveKit
from livekit_platform.config.network import Network
from livekit_platform.config.object_store import ExternalStore, ObjectStore
from livekit_platform.config.platform import Node, PlatformConfig
from livekit_platform.config.ports import Ports, RelayRange
from livekit_platform.config.recordings import Recordings
from livekit_platform.config.redis import ExternalRedis, Redis
from livekit_platform.config.secrets import Secrets
from livekit_platform.config.section import Resources
from livekit_platform.config.token_api import Chat, Database, HostAuth, TokenApi
from livekit_platform.config.turn import Turn

__all__ = [
    "BackupStore",
    "Certificates",
    "Chat",
    "Database",
    "Edge",
    "Egress",
    "ExternalRedis",
    "ExternalStore",
    "HostAuth",
    "Images",
    "Issuer",
    "LiveKit",
    "Network",
    "Node",
    "ObjectStore",
    "PlatformConfig",
    "Ports",
    "RateLimit",
    "Recordings",
    "Redis",
    "RelayRange",
    "Resources",
    "Secrets",
    "Tls",
    "TokenApi",
    "Turn",
]
