"""A lease that is held while something goes on: taken before, renewed beside it, given back after it."""

from __future__ import annotations

import getpass
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import msgspec

from edgedeploy.deploy.holder_process import process_token
from edgedeploy.deploy.lease import TTL_S, Holder, Leases
from edgedeploy.errors import CommandTimeoutError, DeviceLostError, EdgedeployError, LeaseLostError, UsageError

TOKEN_VARIABLE = "EDGEDEPLOY_LEASE"  # noqa: S105 - a name, and no secret: whoever may log in may read leases
_RENEWALS_PER_TTL = 3
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LAST_RENEWAL_S = 10.0
_LAST_WORD_S = 3.0  # to a device that went away, or says nothing any more


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants a device, what for, and for how long to wait.

    ``ttl_s`` is how long it stays theirs when they are not heard of. ``lasting``: it was taken before, and is not given back.
    """

    token: str
    owner: str
    purpose: str
    wait_s: float = 0
    ttl_s: int = TTL_S
    lasting: bool = False


def claim(purpose: str, *, wait_s: float = 0) -> Claim:
    """One by the user of this machine; by the lease that ``$EDGEDEPLOY_LEASE`` names where it does."""
    token = own_token()
    return Claim(token=token or process_token(), owner=this_user(), purpose=purpose, wait_s=wait_s, lasting=bool(token))


def own_token() -> str:
    """The lease that ``$EDGEDEPLOY_LEASE`` names; empty where it names none.

    Raises:
        UsageError: it is no token.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if token and not _TOKEN.fullmatch(token):  # it becomes one word of the lease's text
        raise UsageError(
            "not the token of a lease",
            where=f"${TOKEN_VARIABLE}",
            seen=repr(token),
            next_step="set it to what `edgedeploy lease take` printed, or unset it",
        )
    return token


def this_user() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def held(
    leases: Leases,
    wanted: Claim,
    *,
    again: Callable[[], AbstractContextManager[Leases]],
    waiting: Callable[[Holder], None],
    lost: Callable[[], None],
) -> Iterator[None]:
    """Hold a device.

    A connection serves one thread: ``again`` opens another one, when the lease has to be renewed for the first time. ``lost`` is
    called, from that thread, once somebody else has taken the device; it has to end what is going on.

    Raises:
        DeviceBusyError: it did not become free in time.
        LeaseLostError: somebody else took it meanwhile.
    """
    number = leases.take(
        token=wanted.token,
        owner=wanted.owner,
        purpose=wanted.purpose,
        ttl_s=wanted.ttl_s,
        wait_s=wanted.wait_s,
        waiting=waiting,
    )
    if wanted.lasting:
        yield
        return
    keeper = _Keeper(number, wanted, again, lost)
    keeper.start()
    gone = False
    try:
        yield
    except EdgedeployError as error:
        gone = isinstance(error, DeviceLostError) and not isinstance(error, CommandTimeoutError)
        if keeper.failure is not None:
            raise keeper.failure from error
        raise
    finally:
        with suppress(EdgedeployError):  # a lost device frees itself in time
            if gone:
                keeper.end(_LAST_WORD_S)
                leases.release(wanted.token, limit_s=_LAST_WORD_S)
            else:
                keeper.end(_LAST_RENEWAL_S)
                leases.release(wanted.token)


class _Keeper:
    """Renews a lease from a thread of its own."""

    def __init__(
        self, number: int, wanted: Claim, again: Callable[[], AbstractContextManager[Leases]], lost: Callable[[], None]
    ) -> None:
        self._number = number
        self._wanted = wanted
        self._again = again
        self._lost = lost
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self.failure: LeaseLostError | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self, limit_s: float) -> None:
        """No renewal begins any more; one that is under way is waited for, or it would undo the giving back."""
        self._over.set()
        self._thread.join(timeout=limit_s)

    def _keep(self) -> None:
        wanted = self._wanted
        good_until = time.monotonic() + wanted.ttl_s
        pause_s = wanted.ttl_s / _RENEWALS_PER_TTL
        while not self._over.wait(pause_s):
            try:
                with self._again() as leases:
                    while True:
                        leases.renew(
                            self._number,
                            token=wanted.token,
                            owner=wanted.owner,
                            purpose=wanted.purpose,
                            ttl_s=wanted.ttl_s,
                        )
                        good_until = time.monotonic() + wanted.ttl_s
                        pause_s = wanted.ttl_s / _RENEWALS_PER_TTL
                        if self._over.wait(pause_s):
                            return
            except LeaseLostError as error:
                self.failure = error
                self._lost()
                return
            except EdgedeployError:
                # Whoever works on the device meets the same trouble; meanwhile the lease is tried to be kept.
                pause_s = max(1.0, min(pause_s, (good_until - time.monotonic()) / _RENEWALS_PER_TTL))
