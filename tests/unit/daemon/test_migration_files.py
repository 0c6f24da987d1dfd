from pathlib import Path

import pytest

from daemon.migrations import (
    BadMigrationFileError,
    DatabaseBehindError,
    EditedMigrationError,
    load,
)

GOOD = "-- So that there is something to test.\nSELECT 1;\n"


def write(directory: Path, name: str, text: str = GOOD) -> None:
    (directory / name).write_bytes(text.encode())


def test_the_projects_own_migrations_are_well_formed() -> None:
    migrations = load()
    assert migrations[0].name == "0001_create_roles_and_schemas"
    assert [migration.version for migration in migrations] == list(range(1, len(migrations) + 1))


def test_files_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write(tmp_path, "0002_add_index.sql")
    write(tmp_path, "0001_create_table.sql")
    (tmp_path / "README.md").write_text("not a migration")
    assert [m.name for m in load(tmp_path)] == ["0001_create_table", "0002_add_index"]


@pytest.mark.parametrize(
    "name",
    ["1_create_table.sql", "0001-create-table.sql", "0001_Create_table.sql", "0001_create.sql"],
)
def test_a_file_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    with pytest.raises(BadMigrationFileError, match=r"not NNNN_verb_object\.sql"):
        load(tmp_path)


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "0001_create_table.sql")
    write(tmp_path, "0003_add_index.sql")
    with pytest.raises(BadMigrationFileError, match=r"0003_add_index is .* should be 0002"):
        load(tmp_path)


def test_two_files_with_one_number_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "0001_create_table.sql")
    write(tmp_path, "0001_drop_table.sql")
    with pytest.raises(BadMigrationFileError, match=r"0001_drop_table is .* should be 0002"):
        load(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadMigrationFileError, match=r"no \*\.sql file"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["SELECT 1;\n", "\n-- late\nSELECT 1;\n", "--\n--  \nSELECT 1;\n"])
def test_a_file_that_does_not_open_with_its_reason_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, "0001_create_table.sql", text)
    with pytest.raises(BadMigrationFileError, match="says why"):
        load(tmp_path)


def test_a_directive_alone_is_no_reason(tmp_path: Path) -> None:
    write(tmp_path, "0001_add_index.sql", "-- landbridge: no transaction\nSELECT 1;\n")
    with pytest.raises(BadMigrationFileError, match="says why"):
        load(tmp_path)


def test_the_directive_counts_only_in_the_opening_comment(tmp_path: Path) -> None:
    directive = "-- landbridge: no transaction\n"
    write(tmp_path, "0001_add_index.sql", "-- Why.\n" + directive + "SELECT 1;\n")
    write(tmp_path, "0002_add_index.sql", GOOD + directive)
    assert [m.in_transaction for m in load(tmp_path)] == [False, True]


def test_other_line_ends_make_no_other_checksum(tmp_path: Path) -> None:
    write(tmp_path, "0001_create_table.sql", GOOD)
    before = load(tmp_path)[0].checksum
    write(tmp_path, "0001_create_table.sql", GOOD.replace("\n", "\r\n"))
    assert load(tmp_path)[0].checksum == before
    write(tmp_path, "0001_create_table.sql", GOOD + " ")
    assert load(tmp_path)[0].checksum != before


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_create_table.sql").write_bytes(b"-- \xff\n")
    with pytest.raises(BadMigrationFileError, match="not UTF-8"):
        load(tmp_path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    write(tmp_path, "0001_create_table.sql", GOOD + " " * 1_000_000)
    with pytest.raises(BadMigrationFileError, match="over 1000000 bytes"):
        load(tmp_path)


def test_errors_say_what_to_do() -> None:
    assert "`landbridge migrate`" in str(DatabaseBehindError(count=1, name="0002_add_index"))
    assert "Restore the file" in str(EditedMigrationError(name="0002_add_index"))
