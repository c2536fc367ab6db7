"""Network profiles: what a client's link is like, in each direction. Read from YAML, checked, never guessed.

Delays are one-way and per direction, in milliseconds. Capacities are in kbit/s (1000 bit/s) of
Ethernet frames, as the kernel counts them: a packet's IP length and 14 bytes.
"""

from __future__ import annotations

import difflib
import math
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Ratio = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Milliseconds = Annotated[float, Field(ge=0, le=10_000, description="milliseconds, from 0 to 10000")]
# Below 16 kbit/s a single full packet would take most of a second.
CAPACITY_ALLOWED = "whole kbit/s, from 16 to 10000000"
Capacity = Annotated[int, Field(ge=16, le=10_000_000)]


class UnusableProfile(Exception):
    """No such profile, or one with mistakes. The message says what was given and what is allowed."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Loss(_Strict):
    """Gilbert-Elliott's model: a link is in a good or a bad state, and loses packets by its state.

    The parameters are netem's `loss gemodel p r 1-h 1-k`: a packet is lost or not by the present
    state; then the state may change. Independent loss is the link that never turns bad, and in
    YAML just its ratio as a number.

    Attributes:
        good_to_bad: p, the probability that the state turns bad after a packet.
        bad_to_good: r, the probability that it turns good again; 1/r packets is a bad state's mean length.
        lost_in_bad: 1-h, the ratio lost in the bad state.
        lost_in_good: 1-k, the ratio lost in the good state.
    """

    good_to_bad: Ratio = 0.0
    bad_to_good: Ratio = 1.0
    lost_in_bad: Ratio = 1.0
    lost_in_good: Ratio = 0.0

    @model_validator(mode="before")
    @classmethod
    def _a_number_is_independent_loss(cls, given: Any) -> Any:
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        return {"lost_in_good": given} if is_number else given

    @model_validator(mode="after")
    def _it_does_not_stay_bad(self) -> Loss:
        if self.good_to_bad > 0 and self.bad_to_good == 0:
            raise ValueError(
                "bad_to_good is 0; allowed is more than 0 where good_to_bad is, or all ends up bad"
            )
        return self

    @property
    def bad_ratio(self) -> float:
        """Share of packets that meet the bad state, in the long run."""
        return self.good_to_bad / (self.good_to_bad + self.bad_to_good) if self.good_to_bad else 0.0

    @property
    def ratio(self) -> float:
        """Share of packets that are lost, in the long run."""
        return self.bad_ratio * self.lost_in_bad + (1 - self.bad_ratio) * self.lost_in_good

    def standard_error(self, packets: int) -> float:
        """Standard deviation of the ratio that is found among so many packets.

        Losses of the model are not independent. Their covariance over n packets is
        B(1-B)(b-g)² λⁿ, where B is the bad state's share, b and g the losses by state and
        λ = 1-p-r; its sum over all n adds to the binomial variance.
        """
        if packets < 1:
            return 1.0
        memory = 1 - self.good_to_bad - self.bad_to_good
        in_common = self.bad_ratio * (1 - self.bad_ratio) * (self.lost_in_bad - self.lost_in_good) ** 2
        correlated = 2 * in_common * memory / (1 - memory) if self.good_to_bad else 0.0
        return math.sqrt(max(0.0, self.ratio * (1 - self.ratio) + correlated) / packets)


NO_LOSS = Loss()


class Direction(_Strict):
    """One direction of a link: loss, then delay, then a bottleneck with a queue that drops at its tail.

    Attributes:
        rate_kbps: the bottleneck's capacity; None for no bottleneck.
        delay_ms: one-way delay, without what the bottleneck's queue adds.
        jitter_ms: the delay is uniform within ± this, and never below 0.
        loss: what is lost beside the bottleneck's drops.
        queue_ms: how long the bottleneck's full queue takes to drain.
    """

    rate_kbps: Annotated[Capacity | None, Field(description=CAPACITY_ALLOWED)] = None
    delay_ms: Milliseconds = 0.0
    jitter_ms: Milliseconds = 0.0
    loss: Annotated[Loss, Field(description="a number from 0 to 1, or a mapping with good_to_bad, …")] = (
        NO_LOSS
    )
    queue_ms: Annotated[float, Field(gt=0, le=10_000, description="milliseconds, above 0, to 10000")] = 300.0


class Step(_Strict):
    """The capacities from a time on. A direction that is left out keeps its own.

    Attributes:
        at_s: seconds after the link's clock was started.
    """

    at_s: Annotated[float, Field(gt=0, description="seconds, above 0")]
    down_kbps: Annotated[Capacity | None, Field(description=CAPACITY_ALLOWED)] = None
    up_kbps: Annotated[Capacity | None, Field(description=CAPACITY_ALLOWED)] = None

    @model_validator(mode="after")
    def _it_changes_something(self) -> Step:
        if self.down_kbps is None and self.up_kbps is None:
            raise ValueError("neither down_kbps nor up_kbps is given; allowed is one of them, or both")
        return self


class NetworkProfile(_Strict):
    """What a link is like. `load_profile` makes one.

    Attributes:
        name: by which it is called.
        title: one line for reports.
        down: towards the client.
        up: from the client.
        steps: changes of capacity, in order of time.
        reorder: whether a packet may pass the one before it where jitter has it so. By default packets
            stay in order, as on a mobile link: none is released before its predecessor.
    """

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="small letters, digits and hyphens")
    ]
    title: Annotated[str, Field(min_length=1, description="one line of text")]
    down: Annotated[Direction, Field(description="a mapping with rate_kbps, delay_ms, …")] = Direction()
    up: Annotated[Direction, Field(description="a mapping with rate_kbps, delay_ms, …")] = Direction()
    steps: Annotated[tuple[Step, ...], Field(strict=False, description="a list of steps")] = ()
    reorder: Annotated[bool, Field(description="true or false")] = False

    @model_validator(mode="after")
    def _steps_are_in_order(self) -> NetworkProfile:
        times = [step.at_s for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"steps have at_s {times}; allowed are times that rise")
        return self

    @property
    def is_ideal(self) -> bool:
        """Whether there is nothing to emulate."""
        return self.down == self.up == Direction() and not self.steps


def builtin_profiles() -> dict[str, NetworkProfile]:
    """The profiles that come with this package, by name."""
    directory = resources.files("loadtest") / "profiles"
    files = sorted(
        (file for file in directory.iterdir() if file.name.endswith(".yaml")), key=lambda f: f.name
    )
    profiles = [parse_profile(file.read_text(encoding="utf-8"), source=file.name) for file in files]
    return {profile.name: profile for profile in profiles}


def load_profile(name_or_path: str) -> NetworkProfile:
    """A built-in profile by its name, or one's own by the path of its YAML file.

    Raises:
        UnusableProfile: there is none, or it has mistakes.
    """
    known = builtin_profiles()
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        near = difflib.get_close_matches(name_or_path, known, n=2)
        raise UnusableProfile(
            f"there is no network profile {name_or_path!r}"
            + (f"; near it: {', '.join(near)}" if near else "")
            + f"; allowed are {', '.join(known)}, or the path of a YAML file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableProfile(f"network profile {path} cannot be read: {error}") from error
    return parse_profile(text, source=str(path))


def parse_profile(text: str, *, source: str) -> NetworkProfile:
    """A profile from its YAML. Pure.

    Args:
        source: what to call it in a message.

    Raises:
        UnusableProfile: every mistake at once.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UnusableProfile(f"network profile {source} is no YAML: {error}") from error
    if not isinstance(given, dict):
        raise UnusableProfile(
            f"network profile {source} is {given!r}; allowed is a mapping with name, title, …"
        )
    try:
        return NetworkProfile.model_validate(given)
    except ValidationError as error:
        mistakes = [_sentence(mistake["loc"], mistake["msg"], mistake["input"]) for mistake in error.errors()]
        raise UnusableProfile("\n".join([f"network profile {source}:", *mistakes])) from error


def _sentence(location: tuple[int | str, ...], message: str, given: object) -> str:
    where = ".".join(str(part) for part in location) or "the profile"
    fields, description = _at(location)
    if message == "Extra inputs are not permitted":
        return f"  {where}: there is no such key; allowed are {', '.join(fields)}"
    if message == "Field required":
        return f"  {where}: it is missing; allowed is {description}"
    if message.startswith("Value error, "):
        return f"  {where}: {message.removeprefix('Value error, ')}"
    return f"  {where}: it is {given!r}; allowed is {description or message}"


def _at(location: tuple[int | str, ...]) -> tuple[list[str], str]:
    """The keys beside the one that is at `location`, and its description."""
    model: type[BaseModel] = NetworkProfile
    nested: dict[str, type[BaseModel]] = {"down": Direction, "up": Direction, "loss": Loss, "steps": Step}
    for part in location[:-1]:
        model = nested.get(str(part), model)
    field = model.model_fields.get(str(location[-1])) if location else None
    if field is None and location and not isinstance(location[-1], int):
        return list(model.model_fields), ""
    return list(model.model_fields), (field.description or "") if field else ""
