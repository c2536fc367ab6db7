"""Where things are kept, and what an instance is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.paths import Instance, cache_dir, instance_id, state_root


def test_the_xdg_variables_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere/cache")
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere/state")
    assert cache_dir() == Path("/elsewhere/cache/livekit-platform")
    assert state_root() == Path("/elsewhere/state/livekit-platform")


# A relative path is to be ignored, says the XDG Base Directory Specification: it would mean
# another place in every working directory.
@pytest.mark.parametrize("value", [None, "", "relative/path"])
def test_without_a_usable_one_it_is_below_home(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    assert cache_dir() == Path("/home/somebody/.cache/livekit-platform")
    assert state_root() == Path("/home/somebody/.local/state/livekit-platform")


def test_an_instance_is_named_by_its_checkouts_path() -> None:
    name = instance_id(Path("/a/checkout"))
    assert len(name) == 6
    assert set(name) <= set("0123456789abcdef")
    assert instance_id(Path("/a/checkout")) == name
    assert instance_id(Path("/another/checkout")) != name


@pytest.mark.parametrize("name", ["a", "ci", "abc123", "42", "123456"])
def test_a_given_name_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LKP_INSTANCE", name)
    assert instance_id() == name
    assert Instance.current() == Instance(name, state_root() / name)


# Each would be part of a link's, a namespace's and a directory's name.
@pytest.mark.parametrize("name", ["abcdefg", "Abc", "a-b", "a b", "../x", "a/b", "é", "a²", "a\n"])
def test_a_name_that_could_not_be_a_links_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LKP_INSTANCE", name)
    with pytest.raises(ValueError, match=r"LKP_INSTANCE: given .*, allowed are 1 to 6 lower-case") as caught:
        instance_id()
    assert repr(name) in str(caught.value)


def test_an_empty_name_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = instance_id()
    monkeypatch.setenv("LKP_INSTANCE", "")
    assert instance_id() == unnamed


def test_all_but_the_lock_lies_in_what_down_removes(instance: Instance) -> None:
    files = [
        instance.record,
        instance.kubeconfig,
        instance.nodes,
        instance.pulumi_backend,
        instance.passphrase,
        instance.stack_config,
    ]
    assert len(set(files)) == 6
    assert all(path.is_relative_to(instance.root) for path in files)
    assert not instance.lock.is_relative_to(instance.root)
    assert instance.lock != Instance("abc124", instance.root.parent / "abc124").lock
