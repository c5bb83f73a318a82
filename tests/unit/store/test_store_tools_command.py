"""`wherry store`: a process, and a group of subcommands that look after its files."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from store_files import write_member

from wherry.api.errors import ConfigError
from wherry.cli.main import wherry
from wherry.store.tools.files import held


def run(*arguments: str | Path, answer: str = "") -> Result:
    return CliRunner().invoke(wherry, ["store", *map(str, arguments)], input=answer)


def refused(result: Result) -> str:
    assert isinstance(result.exception, ConfigError)
    return str(result.exception)


def test_help_shows_the_flags_of_the_process_and_the_subcommands() -> None:
    said = run("--help").output
    for word in ("--initial-cluster-token", "--config", "verify", "recover", "rejoin", "member"):
        assert word in said
    assert run("frobnicate").exit_code == 2


def test_the_process_reads_its_config_file(tmp_path: Path) -> None:
    config = tmp_path / "store.yaml"
    config.write_text("nonsense: 1\n")
    assert "no such flag: nonsense" in run("--config", config).output
    config.write_text(f"initial-cluster: bad\ndata-dir: {tmp_path}/d\nhealth-port: 0\n")
    result = run("--config", config)
    assert result.exit_code == 2
    assert not isinstance(result.exception, ConfigError), "it ran, and said so itself"


def test_verify_says_what_is_good_and_what_is_not(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9, snapshot_at=5)
    good = run("verify", tmp_path / "d")
    assert good.exit_code == 0
    assert "entries 1 to 9" in good.output
    assert "entry 5 of term 2, revision 5, 4 keys" in good.output
    (path,) = (tmp_path / "d").glob("*.snap")
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    bad = run("verify", tmp_path / "d")
    assert bad.exit_code == 1
    assert f"damage: {path.name}: the checksum" in bad.output
    assert "holds no log" in refused(run("verify", tmp_path))


def test_verify_and_dump_tell_that_a_store_runs(tmp_path: Path) -> None:
    write_member(tmp_path / "d")
    assert "a store is running" not in run("verify", tmp_path / "d").output
    with held(tmp_path / "d"):
        assert "a store is running" in run("verify", tmp_path / "d").output
        assert "a store is running" in run("dump", tmp_path / "d").output


def test_dump_explains_every_record(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=6, snapshot_at=4)
    said = run("dump", tmp_path / "d").output
    assert "META   member m of cluster c, a voter" in said
    assert "HARD   term 2, vote for m, committed to 1" in said
    assert "ENTRY  entry 1 of term 0: no-op" in said
    assert "ENTRY  entry 3 of term 2: put /k/3, 20 bytes" in said
    assert "entry 4 of term 2, cluster c, revision 4, compacted to 0, 0 leases" in said
    assert "3 keys           72 bytes  /k/" in said or "/k" in said


@pytest.mark.parametrize(
    ("span", "indexes"), [("3", [3]), ("3:5", [3, 4, 5]), (":2", [1, 2]), ("5:", [5, 6])]
)
def test_dump_of_a_span_as_json(tmp_path: Path, span: str, indexes: list[int]) -> None:
    write_member(tmp_path / "d", count=6)
    said = run("dump", tmp_path / "d", "--entries", span, "-o", "json").output
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["index"] for line in lines if line["kind"] == "ENTRY"] == indexes
    assert {line["kind"] for line in lines} == {"ENTRY"}


def test_recover_asks_first(tmp_path: Path) -> None:
    write_member(tmp_path / "d")
    flags = ("--data-dir", tmp_path / "d", "--initial-cluster", "m=127.0.0.1:1,n=127.0.0.1:2")
    declined = run("recover", *flags, answer="n\n")
    assert declined.exit_code == 1
    assert not list(tmp_path.glob("d.*"))
    accepted = run("recover", *flags, answer="y\n")
    assert accepted.exit_code == 0
    assert "wherry store rejoin --name NAME" in accepted.output
    assert len(list(tmp_path.glob("d.before-recovery-*"))) == 1
    assert "a majority: start them" in run("recover", "--data-dir", tmp_path / "d").output


def test_recover_finishes_what_was_killed(tmp_path: Path) -> None:
    write_member(tmp_path / "d")
    flags = ("--data-dir", tmp_path / "d", "--initial-cluster", "m=127.0.0.1:1", "--yes")
    assert run("recover", *flags).exit_code == 0
    (tmp_path / "d").rename(tmp_path / "d.recovering")  # as if it had not come to its last step
    assert "finished the recovery" in run("recover", *flags).output
    assert run("verify", tmp_path / "d").exit_code == 0


def test_recover_uses_the_reports_of_other_machines(tmp_path: Path) -> None:
    write_member(tmp_path / "here", count=5, member="a")
    write_member(tmp_path / "there", count=9, member="b")
    report = tmp_path / "b.json"
    report.write_text(
        run("recover", "--inspect", "-o", "json", "--data-dir", tmp_path / "there").output
    )
    flags = ("--data-dir", tmp_path / "here", "--report", report, "--yes")
    assert "the best survivor is b" in refused(run("recover", *flags))
    report.write_text("{}")
    assert "is no report of a survivor" in refused(run("recover", *flags))


def test_recover_needs_to_know_where_members_listen(tmp_path: Path) -> None:
    write_member(tmp_path / "d")
    assert "say --initial-cluster" in refused(run("recover", "--data-dir", tmp_path / "d", "--yes"))


def test_a_damaged_survivor_is_not_used_but_its_snapshot_may_be(tmp_path: Path) -> None:
    write_member(tmp_path / "d", count=9, snapshot_at=5)
    (path,) = (tmp_path / "d").glob("*.wal")
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    said = refused(run("recover", "--data-dir", tmp_path / "d", "--yes"))
    assert f"{path.name} offset" in said
    assert "what it held at entry 5 can be restored" in said
