"""What nodes answer, and what that means. The texts are those of the nodes named."""

import pytest

from bridge.sending import Answer, read_error

REAL_ANSWERS = [
    ("already known", Answer.KNOWN),  # geth
    ("transaction already imported", Answer.KNOWN),  # Anvil
    ("AlreadyKnown", Answer.KNOWN),  # Nethermind
    ("Known transaction", Answer.KNOWN),  # Besu
    ("nonce too low: next nonce 5, tx nonce 3", Answer.NONCE_USED),  # geth
    ("nonce too low", Answer.NONCE_USED),  # Anvil, Erigon
    ("OldNonce", Answer.NONCE_USED),  # Nethermind
    ("nonce too high", Answer.GAP),
    ("replacement transaction underpriced", Answer.UNDERPRICED),  # geth, Anvil
    ("transaction underpriced: tip needed 1, tip permitted 0", Answer.UNDERPRICED),  # geth
    ("max fee per gas less than block base fee", Answer.UNDERPRICED),  # geth, Anvil
    ("FeeTooLow", Answer.UNDERPRICED),  # Nethermind
    ("insufficient funds for gas * price + value", Answer.NO_FUNDS),  # geth
    ("Insufficient funds for gas * price + value", Answer.NO_FUNDS),  # Anvil
    ("invalid chain id for signer", Answer.REFUSED),
    ("intrinsic gas too low", Answer.REFUSED),
]


@pytest.mark.parametrize(("text", "meaning"), REAL_ANSWERS)
def test_a_known_text_is_read(text: str, meaning: Answer) -> None:
    assert read_error(text) is meaning


@pytest.mark.parametrize("text", ["", "internal error", "header not found", "rate limited"])
def test_an_unknown_text_means_that_it_may_have_been_sent(text: str) -> None:
    assert read_error(text) is Answer.MAYBE
