"""LiveKit's recorders, asked in ways that may be repeated: what is over, or gone, is no error."""

from __future__ import annotations

from token_api.domain.recording_states import FINAL, status_of
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.use_cases.services import Services


async def halt(services: Services, egress_id: str) -> EgressState | None:
    """Have LiveKit stop a recording; how it is then, None where there is none. Raises ProblemError."""
    try:
        return await services.livekit.stop_recording(egress_id)
    except NotInLiveKit:
        return None
    except ProblemError as error:
        if error.kind is not Kind.LIVEKIT_ERROR:
            raise
    # It refuses to stop what is over.
    return await find_in_livekit(services, egress_id)


async def find_in_livekit(services: Services, egress_id: str) -> EgressState | None:
    """A recording as LiveKit has it. Raises ProblemError."""
    try:
        return next(iter(await services.livekit.recordings(egress_id=egress_id)), None)
    except NotInLiveKit:
        return None


async def find_by_key(services: Services, room_name: str, object_key: str) -> EgressState | None:
    """The recording of a room that is made into `object_key`. Raises ProblemError."""
    found = await services.livekit.recordings(room=room_name)
    return next((state for state in found if state.object_key == object_key), None)


def is_over(state: EgressState) -> bool:
    """Whether LiveKit says nothing else of the recording anymore."""
    return status_of(state.status) in FINAL


def is_going_on(state: EgressState) -> bool:
    """Whether LiveKit thinks that it records, or will."""
    return state.status in {"starting", "active"}
