"""What was used and what it cost, however the provider counts."""

import pytest

from omniagent_cli.agent.context.cost import cost, format_dollars, tally
from omniagent_cli.agent.context.summary import Summary
from omniagent_cli.agent.models.stream_parser import normalized_usage
from omniagent_cli.models import Message

PRICE = {"input": 2.0, "output": 10.0, "cache_read": 0.5, "cache_write": 2.5}

COUNTED = {
    "OpenAI: the cached are part of the prompt": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 600},
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        {
            "input_tokens": 1000,
            "output_tokens": 100,
            "cached_tokens": 600,
            "reasoning_tokens": 40,
        },
        (400 * 2 + 600 * 0.5 + 100 * 10) / 1e6,
    ),
    "Anthropic: they are counted beside it": (
        {
            "input_tokens": 300,
            "output_tokens": 100,
            "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 100,
        },
        {
            "input_tokens": 1000,
            "output_tokens": 100,
            "cached_tokens": 600,
            "cache_write_tokens": 100,
        },
        (300 * 2 + 600 * 0.5 + 100 * 2.5 + 100 * 10) / 1e6,
    ),
    "a proxy that tells both ways": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 600},
            "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 100,
        },
        {
            "input_tokens": 1000,
            "output_tokens": 100,
            "cached_tokens": 600,
            "cache_write_tokens": 100,
        },
        (300 * 2 + 600 * 0.5 + 100 * 2.5 + 100 * 10) / 1e6,
    ),
    "DeepSeek": (
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4},
        {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4},
        (6 * 2 + 4 * 0.5 + 5 * 10) / 1e6,
    ),
    "nonsense": ({"prompt_tokens": True, "completion_tokens": -3, "cached": "x"}, {}, 0.0),
}


@pytest.mark.parametrize("case", COUNTED.values(), ids=COUNTED)
def test_cached_tokens_cost_what_is_set_for_them(case):
    """Whether a provider counts its cache inside or beside the input, each token is paid once, at its own price."""
    told, usage, price = case
    assert normalized_usage(told) == usage
    assert cost(usage, PRICE) == pytest.approx(price, abs=1e-9)


def test_without_a_price_there_is_no_cost():
    """A model without a price, or without one for the kind of token there is, costs nobody knows what."""
    usage = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 4}
    assert cost(usage, None) is None
    assert cost(usage, {"input": 1.0}) is None
    assert cost({"input_tokens": 10}, {"input": 1.0}) == pytest.approx(10 / 1e6)
    assert cost(usage, {"input": 1.0, "output": 0.0}) == pytest.approx(10 / 1e6)


def answered(model, sent, said):
    return Message(
        "assistant", "x", model=model, usage={"input_tokens": sent, "output_tokens": said}
    )


def test_a_session_is_counted_by_model():
    """Answers and summaries count with the model that gave them; questions and the uncounted do not."""
    messages = [
        Message("user", "q", usage={"input_tokens": 99}),
        answered("a:x", 10, 1),
        answered("b:y", 20, 2),
        answered("a:x", 30, 3),
        Message("assistant", "uncounted", model="a:x"),
        Message("assistant", "imported", usage={"input_tokens": "many", "cached_tokens": -1}),
    ]
    used = tally(messages, [Summary(3, "s", model="b:y", usage={"input_tokens": 5})])
    assert {
        m: (c["answers"], c["input_tokens"], c["output_tokens"]) for m, c in used.models.items()
    } == {
        "a:x": (2, 40, 4),
        "b:y": (1, 25, 2),
    }
    assert used.total == {"input_tokens": 65, "output_tokens": 6}
    assert used.cost({"a:x": PRICE}) is None
    assert used.cost({"a:x": PRICE, "b:y": PRICE}) == pytest.approx((65 * 2 + 6 * 10) / 1e6)
    assert tally([]).cost({}) is None


AMOUNTS = {
    0.0: "$0",
    12.345: "$12.35",
    1234.5: "$1,234.50",
    0.01234: "$0.0123",
    0.000045: "$0.000045",
    1e-9: "under $0.000001",
}


@pytest.mark.parametrize(("amount", "text"), AMOUNTS.items())
def test_amounts_are_short_and_never_nothing(amount, text):
    """A small amount is not rounded to nothing."""
    assert format_dollars(amount) == text
