"""Which changes of members are allowed: etcd's rules, and its words."""

import pytest

from wherry.store import membership
from wherry.store.membership import (
    ID_EXISTS,
    NAMELESS,
    NOT_FOUND,
    NOT_IN_SYNC,
    NOT_LEARNER,
    PEER_EXISTS,
    STARTED,
    TOO_FEW_STARTED,
    TOO_MANY_LEARNERS,
    TOO_MANY_VOTERS,
    UNHEALTHY,
    AddMember,
    Change,
    Configuration,
    MemberError,
    MemberInfo,
    Progress,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    UpdateMember,
)


def members(voters: int, *, learners: int = 0, unnamed: int = 0) -> Configuration:
    """Return members 1, 2, ...: voters first, of which the last ones never started."""
    made = []
    for number in range(1, voters + learners + 1):
        started = number <= voters - unnamed or number > voters
        name = f"m{number}" if started else ""
        made.append(MemberInfo(number, name, f"h{number}:1", number > voters))
    return Configuration(tuple(made))


def healthy(configuration: Configuration, *down: int) -> Progress:
    ids = {one.id for one in configuration.members} - set(down)
    return Progress(ids, dict.fromkeys(ids, 100), 100)


ADD = AddMember("new", "new:1")
LEARNER = AddMember("new", "new:1", learner=True)


@pytest.mark.parametrize(
    ("before", "down", "asked", "expected"),
    [
        (members(3), (), AddMember("new", "h2:1"), PEER_EXISTS),
        (members(3), (), AddMember("m2", "new:1"), ID_EXISTS),
        (members(3, learners=1), (), LEARNER, TOO_MANY_LEARNERS),
        (members(7), (), ADD, TOO_MANY_VOTERS),
        (members(1), (), AddMember("", "new:1"), NAMELESS),
        (members(3), (3,), ADD, UNHEALTHY),
        (members(3), (3,), LEARNER, UNHEALTHY),
        (members(2, unnamed=1), (2,), ADD, TOO_FEW_STARTED),
        (members(3), (), PromoteMember(9), NOT_FOUND),
        (members(3), (), PromoteMember(3), NOT_LEARNER),
        (members(3, learners=1), (4,), PromoteMember(4), NOT_IN_SYNC),
        (members(7, learners=1), (), PromoteMember(8), TOO_MANY_VOTERS),
        (members(3, learners=1), (2, 3), PromoteMember(4), UNHEALTHY),
        (members(3), (), RemoveMember(9), NOT_FOUND),
        (members(1), (), RemoveMember(1), TOO_FEW_STARTED),
        (members(3, unnamed=2), (2, 3), RemoveMember(1), TOO_FEW_STARTED),
        (members(3), (3,), RemoveMember(2), UNHEALTHY),
        (members(3), (), UpdateMember(9, "x:1"), NOT_FOUND),
        (members(3), (), UpdateMember(1, "h2:1"), PEER_EXISTS),
        (members(3), (), UpdateMember(1, "x:1", "m2"), ID_EXISTS),
        (members(3), (), UpdateMember(1, "h1:1", "m1"), STARTED),
        (members(1), (), ReplaceMember(1), UNHEALTHY),
        (members(3), (2,), ReplaceMember(3), UNHEALTHY),
    ],
)
def test_what_is_refused(
    before: Configuration, down: tuple[int, ...], asked: Change, expected: MemberError
) -> None:
    assert membership.change(before, asked, 50, healthy(before, *down)) == expected


def after(before: Configuration, asked: Change, *down: int) -> Configuration:
    got = membership.change(before, asked, 50, healthy(before, *down))
    assert isinstance(got, Configuration), got
    return got


def test_what_is_allowed() -> None:
    assert len(after(members(1), ADD).voters) == 2
    assert after(members(3), LEARNER).learners == (MemberInfo(50, "new", "new:1", True),)
    assert len(after(members(3, learners=1), PromoteMember(4)).voters) == 4
    assert after(members(3), RemoveMember(3), 3).removed == (3,)
    assert after(members(3, learners=1), RemoveMember(4), 4).removed == (4,)
    assert after(members(3), UpdateMember(1, "x:1")).members[0].peer == "x:1"
    named = after(members(3, unnamed=1), UpdateMember(3, "h3:1", "late"))
    assert named.members[2].name == "late"


def test_a_member_with_a_new_disk_goes_on_as_a_learner_under_another_id() -> None:
    replaced = after(members(3), ReplaceMember(2))
    assert [one.id for one in replaced.voters] == [1, 3]
    assert replaced.learners == (MemberInfo(50, "m2", "h2:1", True),)
    assert (replaced.removed, replaced.returning) == ((2,), (50,))
    promoted = after(replaced, PromoteMember(50))
    assert promoted.returning == ()
    assert {one.name for one in promoted.voters} == {"m1", "m2", "m3"}


def test_an_id_is_never_given_twice() -> None:
    removed = after(members(3), RemoveMember(3))
    assert membership.change(removed, ADD, 3, healthy(removed)) == ID_EXISTS


@pytest.mark.parametrize(
    ("matched", "last", "unsure", "expected"),
    [(89, 100, False, False), (90, 100, False, True), (99_000, 100_000, False, True),
     (98_999, 100_000, False, False), (100, 100, True, False)],
)  # fmt: skip
def test_who_is_in_sync(matched: int, last: int, *, unsure: bool, expected: bool) -> None:
    progress = Progress({4}, {4: matched}, last, {4} if unsure else set())
    assert progress.in_sync(4) is expected


def test_bytes_and_back() -> None:
    replaced = after(members(3), ReplaceMember(2))
    assert membership.decode(membership.encode(replaced)) == replaced
