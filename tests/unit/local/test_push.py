"""What images are called in a registry, and what goes into the configuration."""

from __future__ import annotations

import pytest
import yaml

from livekit_platform.config import Images
from livekit_platform.config.images import has_registry
from local import cli, machine
from local.images import catalog
from local.images.catalog import Image
from local.images.push import (
    Pushed,
    WrongRegistry,
    checked,
    configuration,
    images_to_push,
    key_of,
    name_of,
)

REGISTRY = "registry.example.com/livekit-platform"


@pytest.mark.parametrize(
    "registry",
    [REGISTRY, "r.example.com", "localhost:5000", "localhost/x", "r:5000/a/b-c_d", "10.0.0.1:5000"],
)
def test_a_registry_is_taken_and_so_by_the_program(registry: str) -> None:
    assert checked(registry) == registry
    images = Images(
        registry=registry,
        token_api="token-api:1",
        object_store_setup="object-store-setup:1",
        turn_exporter="turn-exporter:1",
    )
    assert has_registry(images.complete(images.token_api))


@pytest.mark.parametrize(
    "registry",
    [
        "",
        "somebody",
        "somebody/path",
        "https://r.example.com",
        "R.example.com",
        "r.example.com/",
        "r.example.com:tag",
    ],
)
def test_what_is_no_registry_is_named_with_what_is_allowed(
    registry: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WrongRegistry):
        checked(registry)
    # Before anything else: nothing is looked for or built.
    monkeypatch.setattr(machine, "problems", lambda **_: pytest.fail("the machine was looked at"))
    assert cli.main(["images-push", registry]) == cli.USAGE
    printed = capsys.readouterr()
    assert f"REGISTRY: given {registry!r}, allowed is a registry's host" in printed.err
    assert printed.out == ""


def test_a_machine_that_cannot_build_images_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "problems", lambda **_: [machine.Problem("A is missing.", "Get A.")])
    assert cli.main(["images-push", REGISTRY]) == cli.NOT_READY
    assert "A is missing. Get A." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reference", "name", "key"),
    [
        ("docker.io/livekit-platform/token-api:1", "token-api:1", "token_api"),
        ("docker.io/livekit/livekit-server:v1", "livekit/livekit-server:v1", "livekit"),
        ("docker.io/library/redis:7", "library/redis:7", "redis"),
        ("quay.io/a/b/some-thing:1", "a/b/some-thing:1", "some_thing"),
    ],
)
def test_an_image_keeps_its_path_below_the_registry(reference: str, name: str, key: str) -> None:
    image = Image(reference, (), ("/x",))
    assert (name_of(image), key_of(image)) == (name, key)


def test_ours_are_pushed_and_on_request_all_that_the_program_deploys() -> None:
    ours = images_to_push(everything=False)
    assert catalog.token_api() in ours
    assert catalog.object_store_setup() in ours
    assert catalog.turn_exporter() in ours
    assert all(image.ours for image in ours)
    # Whatever is added to the catalog has a key in the configuration, and the other way round.
    keys = [key_of(image) for image in images_to_push(everything=True)]
    # Except livekit/egress, which cannot be built here.
    assert sorted(keys) == sorted(set(Images.model_fields) - {"registry", "pull_secrets", "egress"})


def test_what_is_printed_is_a_configuration_that_the_program_takes() -> None:
    digest = "sha256:" + "0123456789abcdef" * 4
    pushed = [
        Pushed(key_of(image), f"{name_of(image)}@{digest}") for image in images_to_push(everything=True)
    ]
    document = yaml.safe_load(configuration(REGISTRY, pushed))
    images = Images.model_validate(document["livekit-platform:images"])
    assert images.registry == REGISTRY
    for image in (image for name, image in images.references().items() if name != "egress"):
        assert images.complete(image).startswith(f"{REGISTRY}/")
        assert image.endswith(f"@{digest}")
