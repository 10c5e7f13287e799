"""Values: what they have of dataclasses."""

import pytest

from sixhops.values import Value, replace


class Point(Value):
    x: int
    y: int = 0
    words: tuple[str, ...] = ()


class Place(Value):
    x: int
    y: int = 0
    words: tuple[str, ...] = ()


def test_members_by_position_and_by_name():
    assert Point(1, words=("a",)) == Point(x=1, y=0, words=("a",))


@pytest.mark.parametrize(
    ("arguments", "named"), [((), {}), ((1, 2, (), 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2})]
)
def test_what_makes_no_value(arguments, named):
    with pytest.raises(TypeError):
        Point(*arguments, **named)


def test_values_of_other_types_are_others():
    assert Point(1) != Place(1)
    assert Point(1) != 1


def test_equal_values_hash_alike():
    assert {Point(1): "a"}[Point(1)] == "a"


def test_values_are_frozen():
    point = Point(1)

    with pytest.raises(AttributeError):
        point.x = 2
    with pytest.raises(AttributeError):
        del point.x


def test_replacing():
    point = Point(1, 2)

    assert replace(point, y=3) == Point(1, 3)
    assert point == Point(1, 2)
    with pytest.raises(TypeError):
        replace(point, z=1)


def test_text():
    assert repr(Point(1)) == "Point(x=1, y=0, words=())"
