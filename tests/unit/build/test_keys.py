from tiffin.build.planning.keys import step_key


def test_a_key_depends_on_kind_parent_and_content_and_on_nothing_else() -> None:
    key = step_key("run", "p", {"b": 1, "a": ["x"]})
    assert key == step_key("run", "p", {"a": ["x"], "b": 1})
    assert (
        len({key, step_key("copy", "p", {"b": 1, "a": ["x"]}), step_key("run", "q", {"b": 1, "a": ["x"]})})
        == 3
    )
    assert step_key("run", "p", ["a", "b"]) != step_key("run", "p", ["ab"])


def test_names_that_are_not_unicode_have_keys_too() -> None:
    assert step_key("copy", "", "\udcff") != step_key("copy", "", "\udcfe")
