"""Attributes that nobody said, read from tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from configs.cli import UserError
from vqvae.attributes import ATTRIBUTES, NOT_TOLD
from vqvae.prior import MaskedPrior
from vqvae.tell.__main__ import main
from vqvae.tell.reader import fit_reader, tell
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.packed import pack, packed_file, unpack
from vqvae.tokens.store import TokenStore

TOLD = ("eyes", "gender", "age")
SURE = {"gender": 0.7, "age": 0.4}
CODES = torch.randn(2, 32, 4, generator=torch.Generator().manual_seed(0))


def lookup(tokens: Tensor) -> Tensor:
    return torch.cat([CODES[group][tokens[..., group]] for group in range(2)], dim=2).unflatten(1, (4, 4))


def faces(count: int, codebook_size: int = 32, side: int = 4, groups: int = 2, seed: int = 0) -> TokenStore:
    """Gender is seen in the codes of the first row, age in those of the last; the rest is chance."""
    rng = np.random.default_rng(seed)
    gender, age = rng.integers(2, size=count), rng.integers(3, size=count)
    tokens = rng.integers(codebook_size, size=(2, count, side**2, groups))
    tokens[:, :, :side] = (gender * (codebook_size - 1))[:, None, None]
    tokens[:, :, -side:] = age[:, None, None]
    attributes = np.stack([np.zeros(count), gender, age], axis=1).astype(np.int8)
    return TokenStore(tokens.astype(np.int16), np.zeros((count, 7), np.float32), np.zeros(count, np.int8), attributes=attributes)


def test_what_some_faces_say_is_read_of_the_others() -> None:
    whole = faces(700)
    attributes = whole.attributes.copy()
    attributes[400:, 1:] = NOT_TOLD
    attributes[500:600, 1] = 1 - whole.attributes[500:600, 1]  # told already, whatever it looks like
    store, seen = replace(whole, attributes=attributes), list[int]()
    net, held = fit_reader(store, TOLD, ("gender", "age"), lookup, epochs=12, seed=1, sure=SURE, step=seen.append)
    assert sum(seen) == 12 * 360
    assert held.faces == 40
    for name in ("gender", "age"):
        assert held.accuracy[name] > 0.85
        assert held.right[name] >= held.accuracy[name] - 0.05
        assert 0.5 < held.sure[name] <= 1.0
    found = tell(net, store, lookup, TOLD, SURE)
    np.testing.assert_array_equal(found[:400], attributes[:400])
    np.testing.assert_array_equal(found[500:600, 1], attributes[500:600, 1])
    np.testing.assert_array_equal(found[:, 0], 0)
    for column in (1, 2):
        read = np.delete(found[400:, column], np.arange(100, 200)), np.delete(whole.attributes[400:, column], np.arange(100, 200))
        said = read[0] != NOT_TOLD
        assert said.mean() > 0.5
        assert (read[0] == read[1])[said].mean() > 0.85
    # Never so sure: nothing is said.
    np.testing.assert_array_equal(tell(net, store, lookup, TOLD, {"gender": 1.01, "age": 1.01}), attributes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        again, _ = fit_reader(store, TOLD, ("gender", "age"), lookup, epochs=12, seed=1, sure=SURE)
    np.testing.assert_array_equal(tell(again, store, lookup, TOLD, SURE), found)


def test_too_few_labelled_faces_are_refused() -> None:
    store = faces(40)
    store.attributes[15:, 1] = NOT_TOLD
    with pytest.raises(ValueError, match="15 faces have gender, age; at least 20 are needed"):
        fit_reader(store, TOLD, ("gender", "age"), lookup, epochs=1, seed=0, sure=SURE)


def test_the_program_writes_both_files_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer.from_pretrained("pretrained/tokenizer")
    told = MaskedPrior.from_pretrained("pretrained/prior").shape.prior.attributes
    config, sha256 = tokenizer.config, tokenizer.encoding_sha256()
    whole = faces(400, config.codebook_size, config.grid, config.groups)
    attributes = np.full((400, len(told)), NOT_TOLD, np.int8)
    attributes[:300, told.index("gender")] = whole.attributes[:300, 1]
    attributes[:300, told.index("age")] = whole.attributes[:300, 2]
    attributes[:300, told.index("group")] = np.arange(300) % len(ATTRIBUTES["group"])
    store = replace(whole, attributes=attributes)
    packed, out = tmp_path / "packed", tmp_path / "told"
    packed.mkdir()
    for split in ("train", "valid"):
        pack(store, packed_file(packed, split), config.codebook_size, sha256)
    asked = [str(packed), "--epochs", "12", "--sure-of-gender", "0.6", "--sure-of-group", "1", "--out", str(out)]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "30 labelled faces were held out" in said
    assert "group: told of 0.75 of the training faces, before of 0.75" in said
    train, valid = (unpack(packed_file(out, split), config, sha256, len(told)) for split in ("train", "valid"))
    np.testing.assert_array_equal(train.tokens, store.tokens)
    np.testing.assert_array_equal(valid.attributes, attributes)
    np.testing.assert_array_equal(train.attributes[:300], attributes[:300])
    gender = train.attributes[300:, told.index("gender")]
    assert (gender == whole.attributes[300:, 1])[gender != NOT_TOLD].mean() > 0.7
    assert (gender != NOT_TOLD).any()
    with pytest.raises(UserError, match="is there already"):
        main(asked)
    with pytest.raises(UserError, match="--sure-of-age: must be between 0 and 1, got 2"):
        main([*asked, "--overwrite", "--sure-of-age", "2"])
    few = replace(store, attributes=np.full_like(attributes, NOT_TOLD))
    pack(few, packed_file(packed, "train"), config.codebook_size, sha256)
    with pytest.raises(UserError, match=r"train.safetensors: 0 faces have gender, age, group; at least 20"):
        main([*asked, "--overwrite"])
