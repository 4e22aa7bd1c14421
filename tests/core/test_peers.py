"""Processes notice which of the others have ended, and whether by themselves."""

import subprocess
import sys

import pytest
from torch.distributed import HashStore

from lasagna.core.peers import FINISHED, FOLLOWED, KILLED, SILENCE, Loss, Peers, Place, here, is_running


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Store(HashStore):
    """A store in this process, with the one call that torch's lacks."""

    def multi_get(self, keys):
        return [self.get(key) for key in keys]


@pytest.fixture
def ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        yield Place(here().host, process.pid)


def test_all_is_well_until_a_process_ends_without_a_word(ended):
    store = Store()
    first, second = Peers(store, 0, 3), Peers(store, 1, 3)
    assert first.look() is second.look() is None
    third = Peers(store, 2, 3, place=ended)
    assert first.look() == second.look() == Loss(2, ended, KILLED)
    assert first.speaks()
    assert not second.speaks()
    third.leave(FINISHED)
    assert first.look() is None
    assert not first.all_ended


def test_an_error_is_passed_on_and_those_that_follow_are_not_lost():
    store = Store()
    peers = [Peers(store, rank, 3) for rank in range(3)]
    peers[1].leave("shard x is broken")
    assert peers[0].look() == peers[2].look() == Loss(1, here(), "shard x is broken")
    assert peers[2].is_said("shard x is broken")
    peers[0].leave(FOLLOWED)
    assert peers[2].look().rank == 1
    assert peers[2].all_ended
    assert not peers[2].speaks()


def test_another_machine_is_lost_after_a_silence():
    store, clock = Store(), Clock()
    near, far = Peers(store, 0, 2, clock=clock), Peers(store, 1, 2, place=Place("elsewhere", 1))
    for clock.now in (0.0, 0.9 * SILENCE):
        far.look()
        assert near.look() is None
    clock.now += 0.9 * SILENCE
    assert near.look() is None
    clock.now += 0.2 * SILENCE
    assert near.look() == Loss(1, Place("elsewhere", 1), KILLED)


def test_a_store_that_ended_with_its_process_is_left_alone(ended):
    store = Store()
    Peers(store, 0, 2, place=ended)
    peers = Peers(store, 1, 2, keeper=0)
    assert peers.look() == Loss(0, ended, KILLED)
    peers.store = None
    assert peers.look() == Loss(0, ended, KILLED)


def test_a_process_that_waits_for_its_parent_has_ended():
    assert is_running(here().pid)
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        process.stdout.read()
        for _ in range(1000):
            if not is_running(process.pid):
                break
        else:
            pytest.fail("a zombie counts as running")
