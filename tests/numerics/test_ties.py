"""Keyed orders: printed cases, and the independence they promise."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest

from visift.numerics.ties import copy_numbers, gumbel, text_tie_keys, tie_keys


def digest(text):
    return blake2b(text.encode(), digest_size=16).digest()


def key(text, purpose=b""):
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=purpose).digest(), "big")


class TestTieKeys:
    @pytest.mark.parametrize(
        ("seed", "purpose", "order"),
        [(0, b"", "cbad"), (1, b"", "dacb"), (0, b"control", "dbca")],
    )
    def test_printed_orders(self, seed, purpose, order):
        keys = text_tie_keys("abcd", seed, purpose)
        assert "".join(np.array(list("abcd"))[np.argsort(keys)]) == order

    def test_printed_key(self):
        keys = text_tie_keys(["a"], 0)
        assert keys.dtype == np.uint64
        assert f"{keys[0]:016x}" == "bde152eaf93edee5"

    def test_a_digest_enters_as_lower_case_hex(self):
        identity = bytes.fromhex("ABCDEF" + 13 * "00")
        assert tie_keys([identity], 7).tolist() == [key("7:abcdef" + 26 * "0")]

    def test_later_identical_records_get_their_number(self):
        identities = [digest("x"), digest("y"), digest("x"), digest("x")]
        copies = copy_numbers(identities)
        assert copies.tolist() == [0, 0, 1, 2]
        x, y = digest("x").hex(), digest("y").hex()
        expected = [key(f"3:{t}", b"seed") for t in (x, y, f"{x}:1", f"{x}:2")]
        assert tie_keys(identities, 3, b"seed", copies).tolist() == expected

    def test_arrays_of_digests_give_the_same_keys(self):
        identities = [digest(str(i))[:14] + b"\0\0" for i in range(20)] * 2
        rows = np.frombuffer(b"".join(identities), dtype=np.uint8).reshape(-1, 16)
        texts = np.array(identities, dtype="S16")  # whose items would lose the trailing zeros
        for array in (rows, texts):
            assert (tie_keys(array, 0) == tie_keys(identities, 0)).all()
            assert (copy_numbers(array) == copy_numbers(identities)).all()

    def test_an_order_does_not_depend_on_the_order_of_the_pool(self):
        identities = [digest(str(i)) for i in range(100)]
        keys = tie_keys(identities, 0)
        assert (tie_keys(identities[::-1], 0)[::-1] == keys).all()

    def test_purposes_and_seeds_draw_apart(self):
        identities = [digest(str(i)) for i in range(50)]
        drawn = [tie_keys(identities, s, p) for s in (0, 1) for p in (b"", b"control", b"seed")]
        assert len(np.unique(np.concatenate(drawn))) == 300

    def test_no_records(self):
        assert tie_keys([], 0).shape == (0,)
        assert tie_keys(np.empty((0, 16), dtype=np.uint8), 0).shape == (0,)
        assert copy_numbers([]).dtype == np.int64


class TestGumbel:
    def test_value(self):
        u = (3 * 2**50 + 0.5) / 2**53
        assert gumbel(np.array([3 * 2**61], dtype=np.uint64))[0] == pytest.approx(
            -np.log(-np.log(u)), rel=1e-12
        )

    def test_is_finite_and_rises_with_the_key_up_to_both_ends(self):
        keys = np.array([0, 2048, 2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 1], dtype=np.uint64)
        noise = gumbel(keys)
        assert np.isfinite(noise).all()
        assert (np.diff(noise) > 0).all()

    def test_ends_mirror_each_other_in_u(self):
        low, high = np.exp(-np.exp(-gumbel(np.array([0, 2**64 - 1], dtype=np.uint64))))
        assert low == pytest.approx(2.0**-54, rel=1e-9)
        assert high == pytest.approx(1.0, abs=1e-15)

    def test_the_largest_is_drawn_in_proportion_to_the_weights(self):
        """P(argmax of log w + noise = i) = w_i / sum(w); four standard errors of 20,000 draws."""
        weights = np.array([0.5, 0.3, 0.2])
        noise = gumbel(text_tie_keys(map(str, range(60_000)), 0, b"gumbel")).reshape(-1, 3)
        first = np.bincount(np.argmax(np.log(weights) + noise, axis=1), minlength=3) / 20_000
        assert np.abs(first - weights).max() < 4 * np.sqrt(0.25 / 20_000)
