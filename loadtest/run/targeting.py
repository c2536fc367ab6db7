"""Which target a command line means: the stack of this checkout, outputs in a file, or a server's URL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr, ValidationError

from common.commands import CommandFailed, run
from loadtest.run.problems import CouldNotRun
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.target import Target, target_of_stack, target_of_url

CHECKOUT = Path(__file__).parents[2]
_OUTPUTS_SECONDS = 120.0


@dataclass(frozen=True)
class TargetOptions:
    """What the command line says of the target.

    Attributes:
        outputs: a file with the outputs of a stack, `-` for stdin; empty: ask the stack of this checkout.
        url, api_key, api_secret: of any LiveKit server; then `outputs` is not looked at.
        ca: file with the certificate authority that vouches for the URL; empty for the machine's own.
    """

    outputs: str = ""
    url: str = ""
    api_key: str = ""
    api_secret: SecretStr = field(default=SecretStr(""), repr=False)
    ca: str = ""


def target_options(
    *,
    outputs: str,
    url: str,
    api_key: str,
    api_secret: str,
    ca: str,
    environment: Mapping[str, str] = os.environ,
) -> TargetOptions:
    """The options; with a URL, key and secret may come from LIVEKIT_API_KEY and LIVEKIT_API_SECRET.

    LIVEKIT_URL is not looked at: what a shell has set for other tools must not change what is put under load.

    Raises:
        CouldNotRun: they contradict each other, or one is missing.
    """
    if url and outputs:
        raise CouldNotRun(f"--outputs {outputs} and --url {url} are given; allowed is one of them")
    if not url:
        for option, given in (("--api-key", api_key), ("--api-secret", api_secret), ("--ca", ca)):
            if given:
                raise CouldNotRun(f"{option} is given without --url; allowed is with it")
        return TargetOptions(outputs=outputs)
    return TargetOptions(
        url=url,
        api_key=api_key or environment.get("LIVEKIT_API_KEY", ""),
        api_secret=SecretStr(api_secret or environment.get("LIVEKIT_API_SECRET", "")),
        ca=ca,
    )


@contextmanager
def open_target(options: TargetOptions) -> Iterator[Target]:
    """The target, for as long as the block runs.

    Raises:
        CouldNotRun: there is none, or its outputs cannot be read.
        TargetUnusable: the URL, the key or the secret cannot be.
    """
    if options.url:
        ca_file = Path(options.ca) if options.ca else None
        with target_of_url(
            options.url, key=options.api_key, secret=options.api_secret, ca_file=ca_file
        ) as target:
            yield target
    else:
        with target_of_stack(read_outputs(options.outputs)) as target:
            yield target


def read_outputs(file: str) -> StackOutputs:
    """The outputs in a file, on stdin (`-`), or of this checkout's stack (empty).

    Raises:
        CouldNotRun: there are none, or they are no outputs.
    """
    source = file or "python -m local outputs --secrets"
    try:
        text = _read(file)
    except OSError as error:
        raise CouldNotRun(f"--outputs {file}: {error.strerror}") from error
    except CommandFailed as error:
        said = (error.stderr.strip().splitlines() or [error.reason])[-1]
        raise CouldNotRun(
            f"this checkout's stack gave no outputs ({said}); bring it up by `make up`, "
            f"or give another target by --outputs or --url"
        ) from error
    try:
        return StackOutputs.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, e["loc"])) or "all of it" for e in error.errors()}))
        raise CouldNotRun(
            f"{source} gave no outputs of a stack; missing or wrong: {fields}. "
            f"`SECRETS=1 make -s outputs` prints what is wanted"
        ) from None  # pydantic shows what it was given: secrets are in there


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    if file:
        return Path(file).read_text()
    command = [sys.executable, "-m", "local", "outputs", "--secrets"]
    return run(command, cwd=CHECKOUT, timeout=_OUTPUTS_SECONDS).stdout
