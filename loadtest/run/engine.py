"""One run from its preflight to its result: the order of its phases, and that nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex

from common.commands import CommandFailed
from common.waiting import NeverHappened
from loadtest.definition.profile import NetworkProfile, UnusableProfile, load_profile
from loadtest.definition.scenario import Scenario
from loadtest.net.bridge import ClientNetwork, NoFreeAddress
from loadtest.net.calibration import Calibration, calibrate
from loadtest.net.emulation.backend import NoBackend
from loadtest.net.host import HostNamespace
from loadtest.net.irtt import IrttMissing
from loadtest.net.link import LinkDied
from loadtest.net.uplink import NoUplink
from loadtest.result import RunResult
from loadtest.run.actions import NEEDS_LINKS
from loadtest.run.announcing import Announcer
from loadtest.run.assembling import Found, run_result
from loadtest.run.beat import Beat
from loadtest.run.cleanup import delete_rooms
from loadtest.run.crew import Crew
from loadtest.run.measuring import Measuring
from loadtest.run.needs import refuse_what_is_missing
from loadtest.run.observer import Calibrated, Observer, PhaseStarted, RunStarted
from loadtest.run.plan import hello_room, profiles_of, room_names
from loadtest.run.problems import CouldNotRun, Interrupted
from loadtest.run.recording import RoomRecording
from loadtest.run.sampler import Sampler
from loadtest.run.sampling import SfuSampler
from loadtest.run.server import server_version
from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import Target

_CALIBRATION_SECONDS = 5.0
_THREADS = 64  # joins that may be under way at once
# What says in a sentence that this machine, the target or a profile is not fit for the run.
_MISSING = (
    CommandFailed,
    CouldNotRun,
    IrttMissing,
    LinkDied,
    NeverHappened,
    NoBackend,
    NoFreeAddress,
    NoUplink,
    TargetUnusable,
    UnusableProfile,
)


def run_scenario(
    scenario: Scenario,
    profile: NetworkProfile,
    target: Target,
    *,
    seed: int,
    logs: Path,
    observer: Observer,
    stop: threading.Event,
    run_id: str = "",
) -> RunResult:
    """Run it, and take away everything that it made; whatever happens, there is a result.

    Args:
        profile: of the groups that have none of their own.
        seed: of all random numbers of the links.
        logs: directory for logs of clients and emulators.
        stop: set, it ends the run early; what there is by then is the result.
        run_id: what its rooms are named after; without one, a new one.
    """
    found = Found(scenario=scenario, profile=profile, target=target, seed=seed)
    run = _Run(
        found,
        run_id=run_id or token_hex(4),
        logs=logs,
        announce=Announcer(observer),
        stop=stop,
    )
    with ExitStack() as held:
        try:
            run.go(held)
        except (Interrupted, KeyboardInterrupt):
            found.interrupted_s = found.clock.now_s
        except _MISSING as error:
            # An `ip` that Ctrl-C ended is no problem of the machine's.
            if stop.is_set():
                found.interrupted_s = found.clock.now_s
            else:
                found.problem = str(error)
        run.collect()
    return run_result(found)


class _Run:
    """The phases, and what they hand to one another."""

    def __init__(
        self,
        found: Found,
        *,
        run_id: str,
        logs: Path,
        announce: Announcer,
        stop: threading.Event,
    ) -> None:
        self._found = found
        self._run_id = run_id
        self._logs = logs
        self._announce = announce
        self._stop = stop
        self._beat = Beat(stop)
        self._threads: ThreadPoolExecutor | None = None

    def go(self, held: ExitStack) -> None:
        """All phases up to the end of the measured time; `held` takes away what they made."""
        found, scenario, target = self._found, self._found.scenario, self._found.target
        self._announce(RunStarted(scenario, found.profile.name, target.description))
        found.profiles = profiles_of(scenario.groups, found.profile, load_profile)
        refuse_what_is_missing(scenario, found.profiles, target)
        self._phase("looking at the target")
        target.check()
        rooms = room_names(self._run_id, scenario.rooms)
        hello = hello_room(self._run_id)
        held.callback(self._delete_rooms, [hello, *rooms])
        found.server = server_version(target, hello)
        self._beat.heed("preparing")
        network = held.enter_context(target.client_network(links=self._needs_links()))
        self._calibrate(network)
        self._threads = held.enter_context(ThreadPoolExecutor(_THREADS))
        found.crew = Crew(
            network=network,
            profiles=found.profiles,
            rooms=rooms,
            seed=found.seed,
            logs=self._logs,
            join_timeout=scenario.first_media_s,
            held=held,
            clock=found.clock,
            announce=self._announce,
        )
        self._beat.chores.append(found.crew.watch)
        found.sampler = Sampler(SfuSampler(target.sfu_nodes), found.clock, self._announce)
        held.enter_context(found.sampler.running())
        if scenario.recording is not None and target.bucket is not None:
            found.recorder = RoomRecording(
                target.egress,
                target.bucket,
                key=f"loadtest/{rooms[0]}.mp4",
                beat=self._beat,
                threads=self._threads,
                clock=found.clock,
                announce=self._announce,
            )
            held.callback(self._discard_recording, found.recorder)
        Measuring(
            found,
            found.crew,
            beat=self._beat,
            threads=self._threads,
            announce=self._announce,
            stop=self._stop,
        ).go()

    def collect(self) -> None:
        """Let clients end and report, and ask links what they did, while both are still there."""
        crew = self._found.crew
        if crew is None or self._threads is None:
            return
        self._phase("collecting")
        crew.finish(self._threads)
        self._found.look_at_links()

    def _needs_links(self) -> bool:
        emulated = any(not profile.is_ideal for profile in self._found.profiles.values())
        return emulated or any(action.kind in NEEDS_LINKS for action in self._found.scenario.actions)

    def _calibrate(self, network: ClientNetwork | HostNamespace) -> None:
        if isinstance(network, HostNamespace):
            return
        for profile in emulated_profiles(self._found.profiles):
            self._beat.heed(f"calibrating {profile.name}")
            self._phase(f"calibrating {profile.name}", _CALIBRATION_SECONDS)
            calibration: Calibration = calibrate(
                network, profile, seed=self._found.seed, seconds=_CALIBRATION_SECONDS, logs=self._logs
            )
            self._found.calibrations[profile.name] = calibration
            self._announce(Calibrated(calibration))

    def _delete_rooms(self, rooms: list[str]) -> None:
        problem = delete_rooms(self._found.target, rooms)
        if problem:
            self._found.notes.append(problem)

    def _discard_recording(self, recorder: RoomRecording) -> None:
        problem = recorder.discard()
        if problem:
            self._found.notes.append(problem)

    def _phase(self, name: str, seconds: float | None = None) -> None:
        self._announce(PhaseStarted(name, seconds))


def emulated_profiles(profiles: Mapping[str, NetworkProfile]) -> list[NetworkProfile]:
    """Each profile that a group has and that needs an emulator, once. Pure."""
    by_name = {profile.name: profile for profile in profiles.values() if not profile.is_ideal}
    return list(by_name.values())
