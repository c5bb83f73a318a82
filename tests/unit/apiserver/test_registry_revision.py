"""The store is asked for its revision once for all who wait, and nobody gets an answer that is too old."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from wherry.api.errors import UnavailableError
from wherry.apiserver.registry.revision import RevisionReader
from wherry.store.kv import Range, RangeResult
from wherry.store.memory import MemoryStore

Outcome = int | UnavailableError


class SlowStore(MemoryStore):
    """Answers each question when it is told what."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[Outcome]] = []

    def known_revision(self) -> int:
        return 0

    async def range(self, request: Range, *, serializable: bool = False) -> RangeResult:
        self.questions.append(asyncio.get_running_loop().create_future())
        outcome = await self.questions[-1]
        if isinstance(outcome, UnavailableError):
            raise outcome
        return RangeResult(outcome, (), 0)

    async def answer(self, outcome: Outcome) -> None:
        """Answer the newest question."""
        self.questions[-1].set_result(outcome)
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def scenario(
    story: Callable[[SlowStore, RevisionReader, asyncio.TaskGroup], Awaitable[None]],
) -> None:
    async def main() -> None:
        store = SlowStore()
        async with asyncio.TaskGroup() as tasks:
            await story(store, RevisionReader(store), tasks)

    asyncio.run(main())


async def _outcome(reader: RevisionReader) -> str:
    try:
        return f"{await reader.current():d}"
    except UnavailableError as error:
        return str(error)


def test_who_comes_while_a_question_is_under_way_gets_the_answer_to_the_next_one() -> None:
    async def story(store: SlowStore, reader: RevisionReader, tasks: asyncio.TaskGroup) -> None:
        first = tasks.create_task(reader.current())
        await settle()
        others = [tasks.create_task(reader.current()) for _ in range(50)]
        await settle()
        await store.answer(7)
        assert first.result() == 7
        assert not any(other.done() for other in others)
        late = tasks.create_task(reader.current())
        await settle()
        await store.answer(8)
        assert {other.result() for other in others} == {8}
        assert not late.done()
        await store.answer(9)
        assert late.result() == 9
        assert len(store.questions) == 3

    scenario(story)


def test_a_store_that_is_away_is_told_to_all_who_asked_for_it_and_to_nobody_else() -> None:
    async def story(store: SlowStore, reader: RevisionReader, tasks: asyncio.TaskGroup) -> None:
        first = tasks.create_task(_outcome(reader))
        await settle()
        others = [tasks.create_task(_outcome(reader)) for _ in range(3)]
        await settle()
        await store.answer(UnavailableError("away"))
        assert first.result() == "away"
        late = tasks.create_task(_outcome(reader))
        await settle()
        await store.answer(UnavailableError("still away"))
        assert {other.result() for other in others} == {"still away"}
        await store.answer(5)
        assert late.result() == "5"

    scenario(story)


@pytest.mark.parametrize("cancelled", ["who asks", "who is next", "who has just been told to ask"])
def test_if_one_is_cancelled_the_others_are_answered(cancelled: str) -> None:
    async def story(store: SlowStore, reader: RevisionReader, tasks: asyncio.TaskGroup) -> None:
        first, second, third = (tasks.create_task(reader.current()) for _ in range(3))
        await settle()
        match cancelled:
            case "who asks":
                first.cancel()
                await settle()
            case "who is next":
                second.cancel()
                await store.answer(3)
            case _:
                store.questions[-1].add_done_callback(lambda _: second.cancel())
                await store.answer(3)
        await store.answer(4)
        assert third.result() == 4
        assert (first.cancelled(), second.cancelled()) == (
            (True, False) if cancelled == "who asks" else (False, True)
        )

    scenario(story)


@pytest.mark.parametrize("seed", range(30))
def test_nobody_gets_a_revision_from_before_they_came(seed: int) -> None:
    """Whoever comes, goes or is refused: an answer is as new as the store was when it was asked for."""
    rng = random.Random(seed)

    async def story(store: SlowStore, reader: RevisionReader, tasks: asyncio.TaskGroup) -> None:
        revision = 1
        asked: list[tuple[int, asyncio.Task[str]]] = []
        for _ in range(200):
            match rng.randrange(5):
                case 0 | 1:
                    asked.append((revision, tasks.create_task(_outcome(reader))))
                case 2 if asked:
                    rng.choice(asked)[1].cancel()
                case 3:
                    revision += 1
                case _ if store.questions and not store.questions[-1].done():
                    away = UnavailableError("away")
                    store.questions[-1].set_result(away if rng.random() < 0.1 else revision)
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        await settle()
        while not all(task.done() for _, task in asked):
            await store.answer(revision)
        answers = [(came, task.result()) for came, task in asked if not task.cancelled()]
        assert all(text == "away" or int(text) >= came for came, text in answers)

    scenario(story)
