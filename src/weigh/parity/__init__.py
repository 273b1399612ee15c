"""Parity: is the model that is served the model that was trained?

Two stages of a pipeline, or a row of them, are compared in what they say of themselves (tokenizer, template, special
tokens, RoPE, ties, sizes), in their weights, and in what they answer; each kind of hop says what it may change.
"""

from weigh.parity.certificate import Certificate, Chain, Finding
from weigh.parity.certify import Asked, certify
from weigh.parity.chain import certify_chain
from weigh.parity.hops import KINDS, Hop, hop
from weigh.parity.stage import Stage

__all__ = [
    "KINDS",
    "Asked",
    "Certificate",
    "Chain",
    "Finding",
    "Hop",
    "Stage",
    "certify",
    "certify_chain",
    "hop",
]
