"""The layout of a recording that goes on, changed over HTTP, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.test_recordings import AWAY, STATUS, audit, begin, complete, egress, say, stage
from token_api.domain.vocabulary import RecordingLayout
from token_api.livekit_api.values import egress_of
from token_api.use_cases.recording_news import on_egress


async def test_the_layout_of_a_recording_that_goes_on_is_changed(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    path = f"/recordings/{made['id']}"

    async def refusal() -> tuple[int, str]:
        body = {"layout": "speaker"}
        return problem(await api.client.patch(f"/v1{path}", json=body, headers=api.service()))

    # Its recorder is on its way into the room.
    assert await refusal() == (409, "conflict")
    recorder = api.livekit.join_recorder(egress(api).egress_id)
    await say(api, STATUS.EGRESS_ACTIVE)
    layouts = [
        f"{arrangement}{background}"
        for arrangement in ("grid", "speaker", "single-speaker")
        for background in ("", "-light", "-dark")
    ]
    # The last one twice.
    for layout in (*layouts, layouts[-1]):
        changed = await api.call("PATCH", path, api.user("creator"), json={"layout": layout})
        assert changed["layout"] == layout
        assert json.loads(recorder.metadata) == {"layout": layout}
    assert (await api.call("GET", path))["layout"] == layouts[-1]
    assert (await audit(api)).count("layout-changed") == len(layouts)
    api.livekit.failing["UpdateLayout"] = AWAY
    assert await refusal() == (503, "livekit-unavailable")
    assert (await api.call("GET", path))["layout"] == layouts[-1]
    del api.livekit.failing["UpdateLayout"]
    asked = api.livekit.calls.count("UpdateLayout")
    # Asked to stop, stopped, and over.
    api.livekit.failing["StopEgress"] = AWAY
    await api.call("POST", f"{path}/stop", status=503)
    assert await refusal() == (409, "conflict")
    del api.livekit.failing["StopEgress"]
    await api.call("POST", f"{path}/stop")
    assert await refusal() == (409, "conflict")
    complete(api)
    await on_egress(api.services, egress_of(egress(api)))
    assert await refusal() == (409, "conflict")
    assert api.livekit.calls.count("UpdateLayout") == asked


@pytest.mark.parametrize("body", [{}, {"layout": None}, {"layout": "melted"}, {"status": "complete"}])
async def test_a_wrong_change_is_refused_with_the_layouts_that_there_are(api: Api, body: Any) -> None:
    made = await begin(api, await stage(api))
    response = await api.client.patch(f"/v1/recordings/{made['id']}", json=body, headers=api.service())
    assert problem(response) == (422, "validation")
    if body.get("layout") == "melted":
        assert all(layout.value in response.text for layout in RecordingLayout)
