"""Sizes and shares as people write them; what is no number is refused everywhere."""

from __future__ import annotations

import click
import pytest
from command import every_command
from hypothesis import given
from hypothesis import strategies as st

from authorid.cli.quantities import ByteSize, FiniteRange, Share


def convert(kind, text):
    return kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("16777216", 1 << 24),
        ("16M", 1 << 24),
        ("16m", 1 << 24),
        ("16MiB", 1 << 24),
        ("16 MB", 1 << 24),
        ("1.5K", 1536),
        ("2G", 2 << 30),
        ("1T", 1 << 40),
        ("100B", 100),
        (99, 99),
    ],
)
def test_sizes(text, size):
    assert convert(ByteSize(), text) == size


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "", "M", "16X", "16MM", "1e3", "nan", "inf", "0.2", "9" * 30, "1,5M", "٣M", "0x10", True, 1.5e300],
)
def test_no_sizes(text):
    with pytest.raises(click.BadParameter):
        convert(ByteSize(), text)


@given(st.integers(1, (1 << 62) - 1))
def test_every_number_of_bytes_is_a_size(number):
    assert convert(ByteSize(), str(number)) == number


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("5%", 0.05),
        ("0.05", 0.05),
        ("0", 0.0),
        ("100%", 1.0),
        ("1", 1.0),
        ("0.1 %", 0.001),
        ("2.5%", 0.025),
        (0.5, 0.5),
    ],
)
def test_shares(text, share):
    assert convert(Share(), text) == share


@given(st.integers(0, 10_000))
def test_a_percentage_is_the_same_number_as_its_share(hundredths):
    assert convert(Share(), f"{hundredths / 100}%") == hundredths / 10_000


@pytest.mark.parametrize(
    "text",
    ["nan", "nan%", "inf", "-inf%", "-1%", "101%", "1.5", "-0.1", "%", "5%%", "five%", "1e999%", "5 percent", "sNaN%"],
)
def test_no_shares(text):
    with pytest.raises(click.BadParameter):
        convert(Share(), text)


def test_a_share_that_must_not_be_everything():
    assert convert(Share(max_open=True), "99%") == 0.99
    with pytest.raises(click.BadParameter):
        convert(Share(max_open=True), "100%")


NUMBERS = [
    (name, option)
    for name, command in every_command().items()
    for option in command.params
    if isinstance(option.type, click.types.FloatParamType)
]


def test_there_are_numbers():
    assert len(NUMBERS) > 5


@pytest.mark.parametrize(("command", "option"), NUMBERS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1"])
def test_every_number_refuses_what_is_not_finite_or_negative(command, option, text):
    assert isinstance(option.type, FiniteRange)
    with pytest.raises(click.BadParameter):
        option.type_cast_value(click.Context(every_command()[command]), text)


SHARES = {"max_false_attribution", "validation_split", "label_smoothing", "topic_dropout"}


def test_every_share_may_be_a_percentage():
    assert {option.name for _, option in NUMBERS if isinstance(option.type, Share)} == SHARES
