"""What the tests of the transports share: one call that reaches a test host."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from audit_agent.transport import HostUnreachable, Limits, Recording
from audit_agent.transport.ssh import Ssh, SshOptions

HELLO = b"echo hello from $(id -un)\n"


class Answers:
    """Answers prompts from a list, and remembers what was asked."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self._answers.pop(0)


class Reach:
    """Runs a script on a host for `client`; `unreachable` wants it to fail."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def __call__(
        self, target, script=HELLO, *, limits=None, sudo=None, ask=None, accept_new=False, keys=()
    ) -> Recording:
        options = SshOptions(
            config_file=self._config, ask=ask, accept_new_host_key=accept_new, identities=keys
        )
        return Ssh(target, limits or Limits(), options, sudo).run(script)

    def unreachable(self, target, *args, **kwargs) -> HostUnreachable:
        with pytest.raises(HostUnreachable) as caught:
            self(target, *args, **kwargs)
        assert str(caught.value).count("\n") == 0
        return caught.value


@pytest.fixture
def reach(client) -> Reach:
    return Reach(client.config)


@pytest.fixture
def answers() -> Callable[..., Answers]:
    return Answers


@pytest.fixture(autouse=True)
def no_thread_outlives_a_test() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(3)
        assert not thread.is_alive(), f"{thread} still runs"
