"""How many tokens samples may take."""

import pytest
from serve_app.engine.sampling import bound_after, bounded

OPTIONS = {"max_length": 448}


@pytest.mark.parametrize(
    ("n_tokens", "bound"), [(0, 64), (10, 64), (42, 64), (43, 128), (85, 128), (224, 384)]
)
def test_a_bound_leaves_half_as_much_again(n_tokens: int, bound: int) -> None:
    assert bound_after(n_tokens) == bound


@pytest.mark.parametrize(("prompt_tokens", "length"), [(3, 128), (64, 128), (100, 164)])
def test_a_bound_counts_new_tokens_only(prompt_tokens: int, length: int) -> None:
    options = bounded(OPTIONS, prompt_tokens, 64)
    assert options is not None
    assert options["max_length"] == length
    assert min(length // 2, length - prompt_tokens) == 64


def test_there_is_no_bound_where_the_options_allow_no_more() -> None:
    assert bounded(OPTIONS, 3, 256) is None
    assert bounded({"max_length": 50}, 3, 64) is None
