"""Recording events: never blocks, repeats become a count."""

import asyncio
from random import Random

import virtual_loop
from virtual_loop import VirtualClock, until

from wherry.api.kinds import EVENT
from wherry.client.events import MESSAGE_BYTES, EventRecorder
from wherry.client.fake import FakeApi

REF = {"kind": "Pod", "namespace": "d", "name": "a", "uid": "u1"}


def test_repeats_are_counted_and_others_are_new() -> None:
    async def main() -> None:
        clock = VirtualClock()
        api = FakeApi(clock)
        recorder = EventRecorder(api, clock, "kubelet", "n1", rng=Random(1))
        task = asyncio.ensure_future(recorder.run())
        for _ in range(3):
            recorder.event(REF, "Normal", "Pulled", "same")
            await asyncio.sleep(10)
        recorder.event(REF, "Warning", "Failed", "x" * 5000)
        await until(lambda: len(api.objects(EVENT)) == 2)
        pulled, failed = sorted(
            api.objects(EVENT, "d"), key=lambda e: str(e["reason"]), reverse=True
        )
        assert pulled["count"] == 3
        assert pulled["firstTimestamp"] < pulled["lastTimestamp"]
        assert pulled["source"] == {"component": "kubelet", "host": "n1"}
        assert len(failed["message"]) == MESSAGE_BYTES
        task.cancel()

    virtual_loop.run(main())


def test_an_event_that_expired_is_written_anew() -> None:
    async def main() -> None:
        clock = VirtualClock()
        api = FakeApi(clock)
        recorder = EventRecorder(api, clock, "kubelet", rng=Random(1))
        task = asyncio.ensure_future(recorder.run())
        recorder.event(REF, "Normal", "Pulled", "same")
        await until(lambda: len(api.objects(EVENT)) == 1)
        await api.delete(EVENT, api.objects(EVENT)[0]["metadata"]["name"], "d")
        recorder.event(REF, "Normal", "Pulled", "same")
        await until(lambda: len(api.objects(EVENT)) == 1)
        assert api.objects(EVENT)[0]["count"] == 1
        task.cancel()

    virtual_loop.run(main())


def test_one_object_is_not_written_about_without_end() -> None:
    async def main() -> None:
        clock = VirtualClock()
        api = FakeApi(clock)
        recorder = EventRecorder(api, clock, "kubelet", rng=Random(1))
        task = asyncio.ensure_future(recorder.run())
        for n in range(100):
            recorder.event(REF, "Normal", "Created", f"Created pod: {n}")
        recorder.event({**REF, "name": "b"}, "Normal", "Created", "another object")
        await until(lambda: len(api.objects(EVENT)) == 26)
        await asyncio.sleep(600)
        for n in range(10):
            recorder.event(REF, "Normal", "Created", f"Created pod: later {n}")
        await until(lambda: len(api.objects(EVENT)) == 28)
        await asyncio.sleep(10)
        assert len(api.objects(EVENT)) == 28
        task.cancel()

    virtual_loop.run(main())
