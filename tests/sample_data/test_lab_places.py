"""A recording does not tell where on a machine it was made."""

from pathlib import Path

import pyarrow as pa

from sample_data.lab.places import places_of, without_places

MAP = pa.map_(pa.string(), pa.string())


def test_paths_of_the_machine_are_replaced_in_texts_and_attributes_the_longest_first() -> None:
    rows = {
        "body": ["File /root/app/node_modules/x.js", None, "no path"],
        "attributes": [[("code.file", "/root/app/node_modules/x.js"), ("n", "1")], None, [("home", "/root/y")]],
        "time_ns": [1, 2, 3],
    }
    table = pa.table(
        {"body": rows["body"], "attributes": pa.array(rows["attributes"], MAP), "time_ns": rows["time_ns"]}
    )
    found = without_places(table, {"/root": "/home", "/root/app/node_modules": "/node"})
    assert found.schema == table.schema
    assert found.to_pydict() == {
        "body": ["File /node/x.js", None, "no path"],
        "attributes": [[("code.file", "/node/x.js"), ("n", "1")], None, [("home", "/home/y")]],
        "time_ns": [1, 2, 3],
    }


def test_an_empty_table_stays_empty() -> None:
    table = pa.table({"body": pa.array([], pa.string()), "attributes": pa.array([], MAP)})
    assert without_places(table, {"/root": "/home"}).equals(table)


def test_the_checkout_the_home_and_the_labs_own_folders_are_places(tmp_path: Path) -> None:
    places = places_of(tmp_path, tmp_path / "node")
    root = str(Path(__file__).resolve().parents[2])
    assert (places[root], places[str(Path.home())], places[str(tmp_path)]) == ("/app", "/home/app", "/lab")
