"""The scheduling queue: a transcript for each way through it, and that no pod is ever lost."""

from hypothesis import given
from hypothesis import strategies as st
from schedule_objects import pod

from wherry.scheduler.framework import ClusterEvent
from wherry.scheduler.queue import LONGEST_PARKED_S, Place, Queued, SchedulingQueue

GONE, LABEL = ClusterEvent.POD_GONE, ClusterEvent.NODE_LABEL


def names(queue: SchedulingQueue, now_s: float) -> list[str]:
    """Pop all that is ready."""
    popped = []
    while (entry := queue.pop(now_s)) is not None:
        popped.append(entry.info.pod.metadata.name)
    return popped


def taken(queue: SchedulingQueue, now_s: float) -> Queued:
    entry = queue.pop(now_s)
    assert entry is not None
    return entry


def test_priority_first_then_age() -> None:
    queue = SchedulingQueue()
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(pod(name, priority=priority))
    assert names(queue, 0.0) == ["b", "d", "a", "c"]


def test_back_off_doubles_up_to_ten_seconds() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    now_s, waits = 0.0, []
    for _ in range(6):
        queue.retry(taken(queue, now_s))
        due = queue.next_due()
        assert due is not None
        assert queue.pop(due - 0.001) is None
        waits.append(due - now_s)
        now_s = due
    assert waits == [1, 2, 4, 8, 10, 10]


def test_an_event_wakes_whom_it_concerns_after_the_back_off() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    queue.park(taken(queue, 0.0), wakes=GONE)
    queue.wake(LABEL)
    assert names(queue, 100.0) == []
    assert queue.count(Place.UNSCHEDULABLE) == 1
    queue.wake(GONE)
    assert queue.next_due() == 1.0  # a second after the attempt: long past at 100 s
    assert names(queue, 100.0) == ["a"]


def test_after_five_minutes_a_pod_is_tried_again_anyway() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a"))
    queue.park(taken(queue, 7.0), wakes=ClusterEvent(0))
    assert queue.next_due() == 7.0 + LONGEST_PARKED_S
    assert names(queue, 6.0 + LONGEST_PARKED_S) == []
    assert names(queue, 7.0 + LONGEST_PARKED_S) == ["a"]


def test_a_change_of_the_pod_itself_wakes_it_its_status_does_not() -> None:
    queue = SchedulingQueue()
    queue.add(pod("a", cpu="9"))
    queue.park(taken(queue, 0.0), wakes=GONE)
    queue.add(pod("a", cpu="9"))
    assert queue.count(Place.UNSCHEDULABLE) == 1
    queue.add(pod("a", cpu="1"))
    assert taken(queue, 5.0).info.requests.cpu_millicores == 1000


def test_a_removed_pod_does_not_come_back() -> None:
    queue = SchedulingQueue()
    for name in "abc":
        queue.add(pod(name))
    queue.retry(taken(queue, 0.0))
    queue.park(taken(queue, 0.0), wakes=GONE)
    for name in "abc":
        queue.remove(f"pod-{name}")
    queue.wake(GONE)
    assert names(queue, 1000.0) == []
    assert (len(queue), queue.next_due()) == (0, None)


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "park", "retry", "bind", "wake", "wait"]),
        st.sampled_from("abcd"),
    ),
    max_size=40,
)


@given(steps)
def test_no_pod_is_lost(story: list[tuple[str, str]]) -> None:
    queue, now_s, waiting = SchedulingQueue(), 0.0, set[str]()
    for what, name in story:
        uid = f"pod-{name}"
        if what == "add":
            queue.add(pod(name))
            waiting.add(uid)
        elif what == "remove":
            queue.remove(uid)
            waiting.discard(uid)
        elif what == "wake":
            queue.wake(GONE)
        elif what == "wait":
            now_s += 3
        elif (entry := queue.pop(now_s)) is not None:
            if what == "park":
                queue.park(entry, wakes=GONE)
            elif what == "retry":
                queue.retry(entry)
            else:
                waiting.discard(entry.info.uid)
        queue.check_invariants()
        assert len(queue) == len(waiting)
    queue.wake(GONE)
    assert set(names(queue, now_s + 1000)) == {uid.removeprefix("pod-") for uid in waiting}
