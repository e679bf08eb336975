import pytest
import torch

from course_lib.checks import require, require_one_of, require_same_shape, require_shape


def test_require_raises_its_message_and_only_where_the_condition_fails():
    require(True, "never said")
    with pytest.raises(ValueError, match=r"^n is 0; it must be 1 or more$"):
        require(False, "n is 0; it must be 1 or more")


def test_one_of_lists_what_is_allowed():
    require_one_of("split", "test", {"train": 1, "test": 2})
    require_one_of("n", 3, range(5))
    require_one_of("word", "b", iter("abc"))  # an iterator is not used up before the message is made
    with pytest.raises(ValueError, match=r"^split is 'valid'; it must be one of 'train', 'test'\.$"):
        require_one_of("split", "valid", ["train", "test"])
    with pytest.raises(ValueError, match=r"^n is 7; it must be one of 1, 2\.$"):
        require_one_of("n", 7, iter([1, 2]))


def test_same_shape_names_the_two_that_differ():
    require_same_shape(a=torch.zeros(2, 3), b=torch.ones(2, 3), c=torch.zeros(2, 3, dtype=torch.int64))
    require_same_shape(alone=torch.zeros(()))
    for other in (torch.zeros(2, 1), torch.zeros(3), torch.zeros(1, 2, 3), torch.zeros(())):  # each would broadcast
        with pytest.raises(ValueError, match=r"c has shape \(.*\), but a has shape \(2, 3\)"):
            require_same_shape(a=torch.zeros(2, 3), b=torch.zeros(2, 3), c=other)


@pytest.mark.parametrize("shape, wanted, fits", [
    ((2, 3), (2, 3), True), ((2, 3), (None, 3), True), ((0, 3), (None, 3), True), ((), (), True), ((5,), (None,), True),
    ((2, 3), (3, None), False), ((2, 3), (2,), False), ((2,), (2, 1), False), ((2, 3), (), False),
    ((2, 1), (2, 3), False),
])
def test_shape(shape, wanted, fits):
    if fits:
        require_shape("x", torch.zeros(shape), *wanted)
    else:
        with pytest.raises(ValueError, match=r"^x has shape \("):
            require_shape("x", torch.zeros(shape), *wanted)


@pytest.mark.parametrize("wanted, message", [
    ((None, 2), r"x has shape \(5,\); it must be \(any, 2\)\."), ((4,), r"x has shape \(5,\); it must be \(4,\)\."),
    ((), r"x has shape \(5,\); it must be \(\)\."),
])
def test_a_shape_s_message_says_what_fits(wanted, message):
    with pytest.raises(ValueError, match=message):
        require_shape("x", torch.zeros(5), *wanted)
