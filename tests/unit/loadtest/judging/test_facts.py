from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loadtest.definition.profile import NetworkProfile, builtin_profiles
from loadtest.definition.scenario import Camera, Group, Publish
from loadtest.judging.facts import ClientFacts, Window, facts_of
from loadtest.result import CapacityChange
from tests.unit.loadtest.judging.judged import WINDOW

PROFILES = builtin_profiles()
BOTH = Publish(camera=Camera(fps=15), screen=Camera(fps=5), microphone=True)


@dataclass(frozen=True)
class Planned:
    name: str
    group: Group
    room: str = "room_1"
    profile: NetworkProfile = PROFILES["wifi"]


def group(name: str, **changed: Any) -> Group:
    return Group(**{"name": name, "count": 1, **changed})


CREATOR = Planned("creator-1", group("creator", publish=BOTH), profile=PROFILES["3g"])
VIEWER = Planned("viewers-1", group("viewers", subscribe=True))


def of_viewer(*others: Planned, viewer: Planned = VIEWER) -> ClientFacts:
    changes = [
        CapacityChange(at_s=12, group=name, down_kbps=600, up_kbps=None) for name in ("viewers", "creator")
    ]
    return facts_of(viewer, (viewer, *others), window=WINDOW, capacity=changes)


def test_a_viewer_has_to_get_all_that_its_room_sends() -> None:
    facts = of_viewer(CREATOR)
    assert [str(picture) for picture in facts.pictures] == ["creator-1's camera", "creator-1's screen"]
    assert {picture.up.rate_kbps for picture in facts.pictures} == {750}, "of the publisher's link"
    assert facts.down.rate_kbps == 30000, "of its own"
    assert facts.voices == ("creator-1",)
    assert facts.sent_fps == 0


def test_it_sees_the_changes_of_its_own_groups_links() -> None:
    assert [change.group for change in of_viewer(CREATOR).capacity] == ["viewers"]


def test_a_publisher_owes_its_pictures_and_gets_none_where_it_does_not_subscribe() -> None:
    facts = facts_of(CREATOR, (CREATOR, VIEWER), window=WINDOW)
    assert (facts.sent_fps, facts.pictures, facts.voices) == (20, (), ())


def test_in_a_meeting_everybody_gets_all_others() -> None:
    people = [Planned(f"people-{n}", group("people", publish=BOTH, subscribe=True)) for n in (1, 2, 3)]
    assert facts_of(people[1], people, window=WINDOW).voices == ("people-1", "people-3")


def test_other_rooms_send_nothing_here() -> None:
    elsewhere = Planned("creator-2", CREATOR.group, room="room_2")
    assert of_viewer(elsewhere).pictures == ()


def test_who_comes_and_goes_owes_nothing() -> None:
    guest = Planned("guests-1", group("guests", publish=BOTH, subscribe=True, stay_s=5))
    assert of_viewer(guest).pictures == ()
    assert not of_viewer(CREATOR).comes_and_goes
    facts = of_viewer(CREATOR, viewer=guest)
    assert (facts.comes_and_goes, facts.voices) == (True, ("creator-1",))


def test_layers_are_those_that_the_sdk_makes() -> None:
    camera, screen = of_viewer(CREATOR).pictures
    assert set(camera.layer_heights) == {180, 360, 720}
    assert screen.layer_heights == (720,)


def test_quarters_of_a_window() -> None:
    assert Window(10, 50).quarter(2) == Window(20, 30)
    assert 10 in Window(10, 50)
    assert 50 not in Window(10, 50)
