"""Who is alive: every process counts aloud in the job's key-value store, and listens to the others."""

import atexit
import itertools
import threading
import time
from functools import cache
from typing import Any

import jax

from hyperjax.training.hosts import silence_seconds, store

_BEATS, _STOPPED = "hyperjax/beats/", "hyperjax/stopped/"
_PERIOD = 1.0  # seconds between two beats
_LEFT = "left"


class Pulse:
    """This process's heartbeat, in a thread of its own, and what it hears.

    JAX has heartbeats too, but what follows a silence there is the end of the process, without a word to Python.
    """

    def __init__(self, client: Any, index: int, silence: float):
        self._client, self._index, self._silence = client, index, silence
        self._heard: dict[str, tuple[str, float]] = {}  # the last new beat of each, and when it came
        self._gone: list[str] = []
        self._stops: dict[str, str] = {}
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="hyperjax-pulse", daemon=True)
        self._thread.start()

    def trouble(self, number: int) -> str | None:
        """What ended a training of this number elsewhere, in words; None: nothing is known."""
        for key, why in self._stops.items():
            stopped, index = key.removeprefix(_STOPPED).split("-")
            if int(stopped) == number and int(index) != self._index:
                return f"process {index} stopped: {why}"
        return ", ".join(self._gone) or None

    def stop(self, number: int, why: str) -> None:
        """Tell the others that a training ends here."""
        self._client.key_value_set(f"{_STOPPED}{number}-{self._index}", why, allow_overwrite=True)

    def _beat(self) -> None:
        own = f"{_BEATS}{self._index}"
        try:
            for count in itertools.count():
                leaving = self._leaving.wait(_PERIOD if count else 0)
                self._client.key_value_set(own, _LEFT if leaving else str(count), allow_overwrite=True)
                if leaving:
                    return
                self._listen()
        except jax.errors.JaxRuntimeError:  # the store is gone with process 0, and JAX ends this process at once
            return

    def _listen(self) -> None:
        self._stops = dict(self._client.key_value_dir_get(_STOPPED))
        now = time.monotonic()
        for key, beat in self._client.key_value_dir_get(_BEATS):
            if self._heard.get(key, ("", 0.0))[0] != beat:
                self._heard[key] = (beat, now)
        gone = {key: "has ended" for key, (beat, _) in self._heard.items() if beat == _LEFT}
        lost = f"is lost: it has said nothing for {self._silence:g} seconds"
        gone |= {key: lost for key, (_, at) in self._heard.items() if key not in gone and now - at > self._silence}
        self._gone = [f"process {key.removeprefix(_BEATS)} {how}" for key, how in gone.items()]

    def leave(self) -> None:
        """Say goodbye: a silence that follows is no death."""
        self._leaving.set()
        self._thread.join(5)


@cache
def pulse() -> Pulse:
    """This process's own, which beats from the first call until the process ends."""
    own = Pulse(store(), jax.process_index(), silence_seconds())
    atexit.register(own.leave)  # after JAX registered the end of its service, hence before it
    return own
